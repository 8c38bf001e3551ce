//! The slot of one worker process in a generation, and the master's record of the process in it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::app_signals::SignalSet;
use super::harakiri::RequestDeadline;
use super::slot::SlotState;
use super::worker_ids::{self, Gate, IdHolder};
use super::worker_limits::RecycleReason;

/// The slot of one worker process. The index of the slot is one less than its row in the scoreboard.
pub(super) struct WorkerSlot {
    /// The worker's id, from 1. Two slots have the same id while one worker replaces another.
    pub(super) worker_id: u32,
    pub(super) state: SlotState,
    /// Whether a parked worker can get the worker id, as found by the last [`WorkerSlot::look_at_gate`]. Closed if no
    /// worker is parked.
    pub(super) gate: Gate,
    /// Whether a worker was ever forked in the slot.
    pub(super) was_used: bool,
    /// The record of the process forked last; `None` before the first fork and after the exit of the process.
    pub(super) record: Option<WorkerRecord>,
}

/// The master's record of one worker process; each fork creates a new one.
pub(super) struct WorkerRecord {
    /// The master's end of the worker's channel; `None` once the worker's end is closed.
    pub(super) leash: Option<OwnedFd>,
    /// The state of each thread's current request in relation to `harakiri`.
    pub(super) deadlines: Vec<RequestDeadline>,
    /// The memory file into which the worker writes the stacks of its threads.
    pub(super) stacks: Option<File>,
    pub(super) removal: Option<RemovalReason>,
    /// Whether the worker has released the ports and locks that it inherited from the import of the application.
    pub(super) released: bool,
    /// Whether the application's code has ended in the worker.
    pub(super) finished: bool,
    /// The signals for which the worker itself has registered handlers.
    pub(super) signals: SignalSet,
    /// Whether the worker has closed its listening sockets.
    pub(super) closed: bool,
    pub(super) memory: Option<MemorySample>,
    /// Total busy time of the worker's threads at the last sample, in microseconds.
    pub(super) busy: u64,
}

/// The resident memory of a worker at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemorySample {
    pub(super) at: Instant,
    /// Resident memory, in bytes.
    pub(super) resident: u64,
}

/// The reason why the master removes a worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum RemovalReason {
    /// A request exceeded `harakiri` and its thread did not return.
    Harakiri {
        /// The time since which no thread of the worker can finish its request; `None` while a thread can.
        fully_stuck_since: Option<Instant>,
    },
    /// The worker reached a limit, or an operator requested its replacement.
    Recycled(RecycleReason),
    /// The worker exceeded a limit that kills at once (`evil-reload-on-*`).
    OverLimit(RecycleReason),
    /// An operator requested the immediate end of the worker.
    Operator,
}

impl WorkerSlot {
    pub(super) fn new(worker_id: u32, state: SlotState) -> Self {
        Self {
            worker_id,
            state,
            gate: Gate::Closed,
            was_used: false,
            record: None,
        }
    }

    /// The master's end of the worker's channel; `None` if the channel is closed.
    pub(super) fn leash(&self) -> Option<&OwnedFd> {
        self.record.as_ref()?.leash.as_ref()
    }

    /// Closes the channel to the worker.
    pub(super) fn close_leash(&mut self) {
        if let Some(record) = &mut self.record {
            record.leash = None;
        }
    }

    /// The reason why the worker is removed; `None` if it is not removed.
    pub(super) fn removal(&self) -> Option<RemovalReason> {
        self.record.as_ref()?.removal
    }

    /// Sets the reason why the worker is removed, and returns the previous reason. Has no effect without a worker
    /// process.
    pub(super) fn remove_for(&mut self, reason: RemovalReason) -> Option<RemovalReason> {
        self.record.as_mut()?.removal.replace(reason)
    }

    pub(super) fn is_serving(&self) -> bool {
        matches!(self.state, SlotState::Serving { .. })
    }

    /// The time at which the slot must be checked again; `None` if no time is set. `can_fork` tells whether a zygote
    /// can fork.
    pub(super) fn deadline(&self, can_fork: bool) -> Option<Instant> {
        match (&self.state, self.gate) {
            (SlotState::Parked { .. }, Gate::ClosedUntil(time)) => Some(time),
            (SlotState::Parked { .. }, _) => None,
            (state, _) => state.deadline(can_fork),
        }
    }

    /// Updates and returns the gate: whether a parked worker can get its id. The gate is closed if no worker is parked.
    pub(super) fn look_at_gate(
        &mut self,
        holders: &[IdHolder],
        timeout: Duration,
        now: Instant,
    ) -> Gate {
        if matches!(self.state, SlotState::Parked { .. }) {
            self.gate = worker_ids::gate(holders, self.worker_id, timeout, now);
        } else {
            self.gate = Gate::Closed;
        }
        self.gate
    }

    /// Returns the slot's process as the holder of its worker id. Returns `None` if the slot has no process, if the
    /// process is parked, or if it runs no application code any more.
    pub(super) fn id_holder(&self) -> Option<IdHolder> {
        let worker = match &self.state {
            SlotState::Parked { .. } => None,
            state => state.worker(),
        }?;
        if self.record.as_ref().is_some_and(|record| record.finished) {
            return None;
        }
        Some(IdHolder {
            worker_id: self.worker_id,
            pid: worker.pid,
            leaving_since: self.state.leaving_since(),
        })
    }
}

impl WorkerRecord {
    pub(super) fn new(leash: OwnedFd, threads: u32) -> Self {
        Self {
            leash: Some(leash),
            deadlines: vec![RequestDeadline::InTime; threads as usize],
            stacks: None,
            removal: None,
            released: false,
            finished: false,
            signals: SignalSet::default(),
            closed: false,
            memory: None,
            busy: 0,
        }
    }
}
