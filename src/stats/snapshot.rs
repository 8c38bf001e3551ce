//! A snapshot of an instance: the supervisor's own state, and references to the scoreboards.

use std::sync::Arc;

use super::counters::RetiredWorkers;
use super::generation::GenerationView;

/// A snapshot of an instance. The counters of the workers are not in it, because the observer reads them from the
/// scoreboards.
#[derive(Default)]
pub(crate) struct InstanceSnapshot {
    /// The generations with processes, oldest first.
    pub(crate) generations: Vec<GenerationView>,
    /// The counters of the generations whose processes have all exited.
    pub(crate) retired: Arc<RetiredWorkers>,
    /// Maximum number of workers (`processes`). The worker ids are 1 to this number.
    pub(crate) processes: u32,
    /// Number of threads per worker.
    pub(crate) threads: u32,
    /// Whether an operator has paused the instance.
    pub(crate) is_paused: bool,
    pub(crate) sockets: Vec<SocketView>,
    pub(crate) apps: Vec<AppView>,
    pub(crate) daemons: Vec<DaemonView>,
    pub(crate) crons: Vec<CronView>,
}

/// A listening socket.
#[derive(Clone, Debug)]
pub(crate) struct SocketView {
    pub(crate) name: String,
    pub(crate) protocol: &'static str,
    /// Number of connections in the accept queue, and the maximum of this number.
    pub(crate) queue: u32,
    pub(crate) limit: u32,
    /// Number of connections that the kernel has dropped because the queue was full.
    pub(crate) drops: u32,
}

/// A mounted application.
#[derive(Clone, Debug)]
pub(crate) struct AppView {
    pub(crate) mountpoint: String,
    pub(crate) directory: String,
}

/// A service (`attach-daemon`).
#[derive(Clone, Debug)]
pub(crate) struct DaemonView {
    pub(crate) command: String,
    /// The process id; 0 without a process.
    pub(crate) pid: i32,
    pub(crate) respawns: u32,
}

/// A cron job.
#[derive(Clone, Debug)]
pub(crate) struct CronView {
    pub(crate) minute: i32,
    pub(crate) hour: i32,
    pub(crate) day: i32,
    pub(crate) month: i32,
    pub(crate) week: i32,
    pub(crate) command: String,
    pub(crate) is_unique: bool,
    /// The process id of the current run, and the time at which the run began, in seconds since 1970.
    pub(crate) run: Option<(i32, u64)>,
}
