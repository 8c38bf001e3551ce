//! The mules of a generation: processes that serve no requests. A mule has the same states as a worker slot
//! (`slot.rs`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use crate::master::slot::SlotState;
use crate::sys::process::Pid;

/// The mules of a generation, and their queues.
#[derive(Default)]
pub(super) struct Mules {
    pub(super) slots: Vec<MuleSlot>,
    /// The reading and the writing end of each queue: each mule's queue, the queue of all mules, and each farm's queue.
    /// Empty before the first zygote.
    pub(super) queues: Vec<(OwnedFd, OwnedFd)>,
    /// Whether the mules are started. The value is true from the time at which the generation serves.
    pub(super) wanted: bool,
    pub(super) next_check: Option<Instant>,
}

/// The slot of a mule.
pub(super) struct MuleSlot {
    pub(super) state: SlotState,
    /// The master's end of the channel; `None` without a process, and after the channel has ended.
    pub(super) leash: Option<OwnedFd>,
}

impl Mules {
    /// Creates the slots of `count` mules without processes.
    pub(super) fn new(count: usize) -> Self {
        let slots = (0..count).map(|_| MuleSlot {
            state: SlotState::Vacant,
            leash: None,
        });
        Self {
            slots: slots.collect(),
            ..Self::default()
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.slots.iter().all(|it| it.state == SlotState::Vacant)
    }

    pub(super) fn is_forking(&self) -> bool {
        let mut states = self.slots.iter().map(|it| &it.state);
        states.any(|state| matches!(state, SlotState::Forking { .. }))
    }

    pub(super) fn deadline(&self, can_fork: bool) -> Option<Instant> {
        let slots = self.slots.iter().map(|it| it.state.deadline(can_fork));
        slots.chain([self.next_check]).flatten().min()
    }

    pub(super) fn leashes(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(index, it)| {
            it.state.worker()?;
            Some((index, it.leash.as_ref()?.as_fd()))
        })
    }

    pub(super) fn pids(&self) -> impl Iterator<Item = Pid> {
        let workers = self.slots.iter().filter_map(|it| it.state.worker());
        workers.map(|worker| worker.pid)
    }
}
