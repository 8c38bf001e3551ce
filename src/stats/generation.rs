//! A generation in a snapshot: its scoreboard, its slots, and the counts that the master keeps.

use std::sync::Arc;

use crate::shared::scoreboard::Scoreboard;

/// A generation.
pub(crate) struct GenerationView {
    pub(crate) number: u32,
    pub(crate) board: Arc<Scoreboard>,
    /// The slots that have had a worker.
    pub(crate) slots: Vec<SlotView>,
    /// The counts that the master keeps for each worker id; the first entry is for worker 1.
    pub(crate) tallies: Vec<WorkerTally>,
    /// Duration of the longest start of a zygote or worker, seconds.
    pub(crate) startup_seconds: u64,
}

/// A slot and its process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotView {
    /// The row of the scoreboard.
    pub(crate) row: u32,
    pub(crate) worker_id: u32,
    /// The process that has the worker id. `None` if the slot has no process, or if its process waits for the id.
    pub(crate) holder: Option<Holder>,
}

/// The process that has a worker id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder {
    pub(crate) pid: i32,
    pub(crate) stage: Stage,
}

/// The stage of a worker's life. If two processes have one id, the statistics show the process with the later stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Leaving,
    Starting,
    Serving,
}

/// The counts that the master keeps for the workers with one id.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WorkerTally {
    /// Number of processes that have had the id.
    pub(crate) spawns: u64,
    /// Number of requests that have exceeded their deadline (`harakiri`).
    pub(crate) harakiri: u64,
    /// The time at which the last process got the id, in seconds since 1970; 0 means never.
    pub(crate) last_spawn: u64,
}

impl WorkerTally {
    pub(super) fn add(&mut self, other: &Self) {
        self.spawns += other.spawns;
        self.harakiri += other.harakiri;
        self.last_spawn = self.last_spawn.max(other.last_spawn);
    }
}
