//! Messages between the master and a zygote.

use serde::{Deserialize, Serialize};

use super::app::AppSpec;
use super::load_failure::LoadFailure;
use super::signal::SignalRequest;

/// A message from the master to a zygote.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub enum ToZygote {
    /// Import the application. The message carries descriptors in this order: the scoreboard; the rings of request lines
    /// and their eventfd, if `has_rings` is true; each listener; the shared memory; the channel to the log thread, if the
    /// thread runs.
    Load {
        /// The settings.
        app: Box<AppSpec>,
        /// Whether workers leave their request lines in rings, from which the master writes them to the log.
        has_rings: bool,
    },
    /// Fork a worker. The message carries the worker's end of its leash.
    Fork {
        /// The worker's id, from 1 (`uwsgi.worker_id()`).
        worker_id: u32,
        /// The worker's row of the scoreboard, from 1. A worker and its successor share an id but not a row.
        row: u32,
        /// Whether the worker waits for [`ToWorker::Serve`](super::ToWorker::Serve) before it accepts connections.
        hold: bool,
    },
    /// Fork a mule. The message carries the mule's end of its leash.
    ForkMule {
        /// The mule's id, from 1 (`uwsgi.mule_id()`).
        mule_id: u32,
        /// The mule's row of the scoreboard.
        row: u32,
    },
    /// The descriptors of the mules' queues. One or several such messages follow [`ToZygote::Load`].
    Queues,
    /// Redirect standard output and error to another file. The message carries the file's descriptor.
    Log,
}

/// A message from a zygote to the master.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub enum FromZygote {
    /// Ports and locks that the import has taken and that no other import can take at the same time. Sent before
    /// [`FromZygote::Loaded`].
    Taken(Vec<String>),
    /// The application is imported and warmed up; workers can be forked.
    Loaded,
    /// The application cannot be loaded. The zygote exits after this message.
    Failed(LoadFailure),
    /// Source files that the application has loaded. The master watches these files.
    Files(Vec<String>),
    /// The application registers, schedules or raises a signal during its import. Every worker inherits a registered
    /// handler.
    Signal(SignalRequest),
    /// A worker was forked.
    Forked {
        /// The worker's row of the scoreboard.
        row: u32,
        /// The worker's process id.
        pid: i32,
    },
    /// A worker could not be forked.
    ForkFailed {
        /// The row of the scoreboard that stays empty.
        row: u32,
        /// The error number (errno) of the failure.
        errno: i32,
    },
}
