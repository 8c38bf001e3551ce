//! Assigns slots to workers: each requested worker gets a slot, and the successor of a leaving worker gets another
//! slot.

use std::time::Instant;

use crate::ipc::ToWorker;
use crate::master::role::GenerationRole;
use crate::master::slot::{self, SlotState};
use crate::master::worker_slot::WorkerSlot;

use super::Generation;

impl Generation {
    /// Releases each empty slot if another slot has, or will have, a serving worker with the same worker id.
    pub(super) fn release_replaced_slots(&mut self, now: Instant) {
        for slot in 0..self.slots.len() {
            if matches!(self.slots[slot].state, SlotState::Empty { .. }) && self.has_successor(slot)
            {
                let release = slot::Event::Dismiss {
                    message: ToWorker::Retire,
                    deadline: now,
                };
                self.step_slot(slot, release, now);
            }
        }
    }

    /// Whether another slot has, or will have, a serving worker with the worker id of `slot`.
    pub(super) fn has_successor(&self, slot: usize) -> bool {
        let worker_id = self.slots[slot].worker_id;
        let mut others = self.slots.iter().enumerate();
        others
            .any(|(other, it)| other != slot && it.worker_id == worker_id && it.state.will_serve())
    }

    /// Requests a successor of the worker in `slot`, in a vacant slot. The successor gets the worker id when the old
    /// worker has exited, at the latest after `worker-id-timeout`. If no slot is vacant, the successor is started in
    /// `slot` after the old worker's exit.
    pub(super) fn start_successor(&mut self, slot: usize, now: Instant) {
        let worker_id = self.slots[slot].worker_id;
        let is_wanted = self.role != GenerationRole::Old && self.may_have(worker_id);
        if is_wanted && !self.has_successor(slot) {
            self.place(worker_id, now);
        }
    }

    /// Requests a worker with this id in a vacant slot. Returns `false` if no slot with this id is vacant.
    fn place(&mut self, worker_id: u32, now: Instant) -> bool {
        let vacant = |it: &WorkerSlot| it.worker_id == worker_id && it.state == SlotState::Vacant;
        let Some(slot) = self.slots.iter().position(vacant) else {
            return false;
        };
        self.step_slot(slot, slot::Event::Want, now);
        self.check_by(now);
        true
    }

    /// Whether this generation may have a worker with this id. The id must be at most the number of requested workers,
    /// and in the generation's share.
    fn may_have(&self, worker_id: u32) -> bool {
        worker_id <= self.wanted && self.share.contains(worker_id)
    }

    /// Requests each missing worker in a vacant slot. If no slot is vacant for a worker, the next call tries again.
    pub(super) fn place_wanted(&mut self, now: Instant) {
        if !self.has_unplaced || self.role == GenerationRole::Old {
            return;
        }
        self.has_unplaced = false;
        for worker_id in 1..=self.wanted {
            if !self.share.contains(worker_id) {
                continue;
            }
            let has_slot = |it: &WorkerSlot| {
                it.worker_id == worker_id
                    && match it.state {
                        SlotState::Leaving { replace, .. } | SlotState::Killed { replace, .. } => {
                            replace
                        }
                        ref state => state.will_serve(),
                    }
            };
            if !self.slots.iter().any(has_slot) && !self.place(worker_id, now) {
                self.has_unplaced = true;
            }
        }
    }
}
