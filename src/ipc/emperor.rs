//! Messages between the emperor and the master of a vassal.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::sys::cgroup::Limits;

use super::control::{Answer, Request};
use super::load_failure::LoadFailure;

/// An order from the emperor to the master of a vassal.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToVassal {
    /// Reload the configuration and the application; has the same effect as SIGHUP.
    Reload,
    /// Finish the requests in flight and stop.
    Stop,
    /// Stop at once, without waiting for requests in flight.
    StopNow,
    /// Respond with a [`FromVassal::Report`].
    Report,
}

/// A client's request that the emperor forwards to a vassal; the response is [`FromVassal::Answer`].
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// A number that identifies the request. The response has the same number.
    pub(crate) ticket: u32,
    /// The client's user id; the emperor has authorised it.
    pub(crate) uid: u32,
    pub(crate) request: Request,
}

/// The response to [`FromVassal::Limits`].
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limited {
    /// The reason why the limits cannot be set; `None` if they were set.
    pub(crate) limits_refused: Option<String>,
}

/// A message from the emperor to the master of a vassal.
#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(untagged)]
pub(crate) enum FromEmperor {
    Order(ToVassal),
    Question(Question),
    Limited(Limited),
}

/// A message from the master of a vassal to the emperor.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub(crate) enum FromVassal {
    /// The first generation serves requests.
    Ready,
    /// A reload is complete: the new generation serves requests.
    Reloaded,
    /// A reload failed; the previous generation continues to serve.
    ReloadFailed(LoadFailure),
    /// The vassal cannot start or continue; it exits after this message.
    Failed {
        /// The reason, in one sentence.
        reason: String,
        /// Python's traceback; empty if there is none.
        #[serde(default)]
        traceback: String,
        /// Whether the reason is already in the emperor's log, so the emperor need not log it again.
        told: bool,
    },
    /// The vassal was idle for the time of `die-on-idle`. It exits with status 0 after its workers have exited. The
    /// vassal's next process serves the connections that arrive from now on.
    Idle,
    /// Listening sockets that the emperor must keep open from now on. They replace the sockets that it kept before. The
    /// message carries their descriptors.
    Sockets {
        /// The sockets, in the order of their descriptors.
        kept: Vec<HandedOverSocket>,
        /// Whether the vassal exits after this message and is started again at the next connection.
        waits: bool,
    },
    /// The master is alive (`heartbeat`).
    Beat {
        /// Milliseconds until the next beat.
        every_ms: u64,
    },
    /// The cgroup limits from the vassal's configuration file. The emperor's limits apply too. The response is
    /// [`Limited`].
    Limits(Limits),
    /// The counters of the vassal, in response to [`ToVassal::Report`].
    Report(Report),
    /// The response to a [`Question`].
    Answer {
        /// The `ticket` of the [`Question`].
        ticket: u32,
        /// The response for the client.
        answer: Answer,
    },
}

/// A listening socket that the emperor keeps open for a vassal.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct HandedOverSocket {
    /// The address of the socket, for the log.
    pub name: String,
    /// The file of a Unix socket; `None` for other sockets.
    pub file: Option<KeptFile>,
}

/// The file of a Unix socket. Device and inode identify the file, because another file can replace it at the same path.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct KeptFile {
    /// The absolute path of the file.
    pub path: PathBuf,
    /// The device number of the file.
    pub device: u64,
    /// The inode number of the file.
    pub inode: u64,
}

/// Counters of a vassal.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Report {
    /// Number of workers that accept requests.
    pub(crate) workers: u32,
    /// Number of requests served by the current generations; generations that have ended do not count.
    pub(crate) requests: u64,
    /// The memory of all processes of the vassal in KiB, shared pages counted proportionally (PSS).
    pub(crate) memory_kib: u64,
}
