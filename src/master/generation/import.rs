//! What the import of the application has taken, such as ports and locks: given up for the import of a reload.

use std::time::Instant;

use crate::ipc::ToWorker;
use crate::master::role::GenerationRole;
use crate::master::zygote;
use crate::master::zygote_state::{self, Zygote};

use super::Generation;

impl Generation {
    /// Ports and locks that the import has taken.
    pub(in crate::master) fn taken(&self) -> &[String] {
        &self.taken
    }

    /// Ends the zygote, and has the workers give up what its import has taken. No zygote is started before
    /// [`Generation::resume_import`].
    pub(in crate::master) fn yield_import(&mut self, now: Instant) {
        self.import_is_suspended = true;
        self.release_import();
        let forking = self.is_forking();
        let deadline = now + zygote::FORK_TIMEOUT;
        self.step_zygote(zygote_state::Event::Close { forking, deadline }, now);
    }

    /// Has the workers give up what they have inherited from the import.
    pub(in crate::master) fn release_import(&mut self) {
        for slot in 0..self.slots.len() {
            if let Some(record) = &mut self.slots[slot].record {
                record.released = false;
                self.send(slot, ToWorker::Release);
            }
        }
    }

    /// Whether no process holds anything that the import has taken.
    pub(in crate::master) fn has_released(&self) -> bool {
        let is_free = self.zygote.pid().is_none();
        let mut records = self.slots.iter().filter_map(|slot| slot.record.as_ref());
        is_free && records.all(|record| record.released || record.leash.is_none())
    }

    /// Starts a zygote again, if the last one was ended for another generation.
    pub(in crate::master) fn resume_import(&mut self, now: Instant) {
        self.import_is_suspended = false;
        self.restart_zygote(now);
    }

    /// Starts the zygote that [`Generation::yield_import`] has ended, once it has exited and is needed again.
    pub(super) fn restart_zygote(&mut self, now: Instant) {
        let is_needed = self.role == GenerationRole::Current && !self.import_is_suspended;
        if is_needed && self.zygote == Zygote::Gone {
            self.zygote = Zygote::new(now);
        }
    }
}
