//! When the application is imported in the zygote, it may take ports and locks. Before the import of a reload, the
//! processes of the old generation release these ports and locks.

use std::time::Instant;

use crate::ipc::ToWorker;
use crate::master::role::GenerationRole;
use crate::master::zygote;
use crate::master::zygote_state::{self, Zygote};

use super::Generation;

impl Generation {
    /// The ports and locks that the import in the zygote has taken.
    pub(in crate::master) fn taken(&self) -> &[String] {
        &self.taken
    }

    /// Ends the zygote, and asks the workers to release the ports and locks that they inherited from its import. A
    /// pending fork has until [`zygote::FORK_TIMEOUT`]. No zygote is started before [`Generation::resume_import`].
    pub(in crate::master) fn yield_import(&mut self, now: Instant) {
        self.import_is_suspended = true;
        self.release_import();
        let forking = self.is_forking();
        let deadline = now + zygote::FORK_TIMEOUT;
        self.step_zygote(zygote_state::Event::Close { forking, deadline }, now);
    }

    /// Asks the workers to release the ports and locks that they inherited from the import.
    /// [`Generation::has_released`] tells when all workers have released them.
    pub(in crate::master) fn release_import(&mut self) {
        for slot in 0..self.slots.len() {
            if let Some(record) = &mut self.slots[slot].record {
                record.released = false;
                self.send(slot, ToWorker::Release);
            }
        }
    }

    /// Whether no process of this generation holds ports or locks of the import. If the channel of a worker is closed,
    /// the worker has exited or is about to exit, so it counts as holding none.
    pub(in crate::master) fn has_released(&self) -> bool {
        let is_free = self.zygote.pid().is_none();
        let mut records = self.slots.iter().filter_map(|slot| slot.record.as_ref());
        is_free && records.all(|record| record.released || record.leash.is_none())
    }

    /// Allows zygotes again after [`Generation::yield_import`], and starts one if the last zygote has exited.
    pub(in crate::master) fn resume_import(&mut self, now: Instant) {
        self.import_is_suspended = false;
        self.restart_zygote(now);
    }

    /// Starts a zygote in place of the one that [`Generation::yield_import`] has ended. Does nothing before that zygote
    /// has exited, while imports are suspended, or if this is not the current generation.
    pub(super) fn restart_zygote(&mut self, now: Instant) {
        let is_needed = self.plan.needs_zygote
            && self.role == GenerationRole::Current
            && !self.import_is_suspended;
        if is_needed && self.zygote == Zygote::Gone {
            self.zygote = Zygote::new(now);
        }
    }
}
