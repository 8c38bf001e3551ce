//! The view of a generation for the observer, and the counts that the master keeps for the view.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::master::slot::SlotState;
use crate::master::worker_slot::WorkerSlot;
use crate::stats::{GenerationView, Holder, SlotView, Stage, WorkerTally};

use super::Generation;
use super::processes::row_of;

impl Generation {
    /// The view of the generation: its counters, and each slot that has had a worker.
    pub(in crate::master) fn view(&self) -> GenerationView {
        let used = self.slots.iter().enumerate().filter(|(_, it)| it.was_used);
        GenerationView {
            number: self.number,
            board: Arc::clone(&self.scoreboard),
            slots: used
                .map(|(index, slot)| SlotView {
                    row: row_of(index),
                    worker_id: slot.worker_id,
                    holder: holder(slot),
                })
                .collect(),
            tallies: self.tallies.clone(),
            startup_seconds: self.longest_start.as_secs(),
        }
    }

    /// Counts the process in a slot as started, when it gets its worker id.
    pub(super) fn count_spawn(&mut self, slot: usize) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let tally = self.tally(slot);
        if let Some(tally) = tally {
            tally.spawns += 1;
            tally.last_spawn = since.map_or(0, |since| since.as_secs());
        }
    }

    /// Counts a request that has exceeded `harakiri`.
    pub(super) fn count_harakiri(&mut self, slot: usize) {
        if let Some(tally) = self.tally(slot) {
            tally.harakiri += 1;
        }
    }

    fn tally(&mut self, slot: usize) -> Option<&mut WorkerTally> {
        let index = self.slots[slot].worker_id.checked_sub(1)?;
        self.tallies.get_mut(index as usize)
    }
}

/// The process in a slot; `None` unless the process has the worker id.
fn holder(slot: &WorkerSlot) -> Option<Holder> {
    let stage = match slot.state {
        SlotState::Empty { .. }
        | SlotState::Forking { .. }
        | SlotState::Parked { .. }
        | SlotState::Vacant => return None,
        SlotState::Starting { .. } | SlotState::Held { .. } => Stage::Starting,
        SlotState::Serving { .. } => Stage::Serving,
        SlotState::Leaving { .. } | SlotState::Killed { .. } => Stage::Leaving,
    };
    let pid = slot.state.worker()?.pid.get();
    Some(Holder { pid, stage })
}
