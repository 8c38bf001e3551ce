//! The place of one worker process in a generation, and what the master knows about the process in it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::harakiri::RequestDeadline;
use super::slot::SlotState;
use super::worker_ids::{self, Gate, IdHolder};
use super::worker_limits::RecycleReason;

/// The place of one worker process. Its index is one less than its row of the scoreboard.
pub(super) struct WorkerSlot {
    /// The worker's id, from 1. Two slots have the same id while one worker replaces another.
    pub(super) worker_id: u32,
    pub(super) state: SlotState,
    /// Whether the id of a parked worker is free.
    pub(super) gate: Gate,
    /// The process that was forked last; `None` before the first fork and after its exit.
    pub(super) record: Option<WorkerRecord>,
}

/// The master's record of one worker process; each fork creates a new one.
pub(super) struct WorkerRecord {
    /// The master's end of the worker's channel; `None` once the worker's end is closed.
    pub(super) leash: Option<OwnedFd>,
    /// How the current request of each thread stands against `harakiri`.
    pub(super) deadlines: Vec<RequestDeadline>,
    /// The memory file in which the worker writes the stacks of its threads.
    pub(super) stacks: Option<File>,
    pub(super) removal: Option<RemovalReason>,
    /// The worker has given up what it inherited from the import of the application.
    pub(super) released: bool,
    /// No code of the application runs in the worker any more.
    pub(super) finished: bool,
    /// The worker has closed its listening sockets.
    pub(super) closed: bool,
    pub(super) memory: Option<MemorySample>,
    /// Busy time of its threads at the last sample, added up, microseconds.
    pub(super) busy: u64,
}

/// The resident memory of a worker at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemorySample {
    pub(super) at: Instant,
    /// Bytes.
    pub(super) resident: u64,
}

/// Why the master removes a worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum RemovalReason {
    /// A request exceeded `harakiri` and its thread did not return.
    Harakiri {
        /// Since when no thread of the worker can finish its request; `None` while one can.
        fully_stuck_since: Option<Instant>,
    },
    /// It reached a limit, or an operator asked for its replacement.
    Recycled(RecycleReason),
    /// It exceeded a limit at which it is killed at once (`evil-reload-on-*`).
    OverLimit(RecycleReason),
    /// An operator asked for its immediate end.
    Operator,
}

impl WorkerSlot {
    pub(super) fn new(worker_id: u32, state: SlotState) -> Self {
        Self {
            worker_id,
            state,
            gate: Gate::Closed,
            record: None,
        }
    }

    /// The channel to the worker, while it is open.
    pub(super) fn leash(&self) -> Option<&OwnedFd> {
        self.record.as_ref()?.leash.as_ref()
    }

    /// Closes the channel to the worker.
    pub(super) fn close_leash(&mut self) {
        if let Some(record) = &mut self.record {
            record.leash = None;
        }
    }

    /// Why the worker is removed, if it is.
    pub(super) fn removal(&self) -> Option<RemovalReason> {
        self.record.as_ref()?.removal
    }

    /// Sets the reason; returns the one before.
    pub(super) fn remove_for(&mut self, reason: RemovalReason) -> Option<RemovalReason> {
        self.record.as_mut()?.removal.replace(reason)
    }

    pub(super) fn is_serving(&self) -> bool {
        matches!(self.state, SlotState::Serving { .. })
    }

    /// When the slot must be looked at again; `can_fork`: whether a zygote can fork.
    pub(super) fn deadline(&self, can_fork: bool) -> Option<Instant> {
        match (&self.state, self.gate) {
            (SlotState::Parked { .. }, Gate::ClosedUntil(time)) => Some(time),
            (SlotState::Parked { .. }, _) => None,
            (state, _) => state.deadline(can_fork),
        }
    }

    /// Looks whether the id of a parked worker is free.
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

    /// What the slot's process means for its worker id.
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
            closed: false,
            memory: None,
            busy: 0,
        }
    }
}
