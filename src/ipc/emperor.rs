//! Messages between the emperor and the master of a vassal.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::sys::cgroup::Limits;

use super::control::{Answer, Request};
use super::load_failure::LoadFailure;

/// An order of the emperor to the master of a vassal.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToVassal {
    /// Reload the configuration and the application, as after SIGHUP.
    Reload,
    /// Finish the requests in flight and stop.
    Stop,
    /// Stop at once.
    StopNow,
    /// Send a [`FromVassal::Report`].
    Report,
}

/// A client's request that the emperor forwards to a vassal; the response is [`FromVassal::Answer`].
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// Identifies the response.
    pub(crate) ticket: u32,
    /// The client's user id; the emperor has authorised it.
    pub(crate) uid: u32,
    pub(crate) request: Request,
}

/// The response to [`FromVassal::Limits`].
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limited {
    /// Why the limits cannot be set; `None` after success.
    pub(crate) limits_refused: Option<String>,
}

/// A message of the emperor to the master of a vassal.
#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(untagged)]
pub(crate) enum FromEmperor {
    Order(ToVassal),
    Question(Question),
    Limited(Limited),
}

/// A message of the master of a vassal to the emperor.
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
        /// The reason is already in the emperor's log.
        told: bool,
    },
    /// The vassal was idle for `die-on-idle` and exits with status 0 after its workers. Connections that arrive from
    /// now on are for its successor.
    Idle,
    /// The emperor keeps these sockets from now on, in place of those it kept before. Carries their descriptors.
    Sockets {
        /// The sockets, in the order of the descriptors.
        kept: Vec<HandedOverSocket>,
        /// The sender exits after this; the emperor starts the vassal again at the next connection.
        waits: bool,
    },
    /// The master is alive (`heartbeat`).
    Beat {
        /// Milliseconds until the next one.
        every_ms: u64,
    },
    /// The cgroup limits of the vassal's own file; the emperor's limits apply too. The response is [`Limited`].
    Limits(Limits),
    /// The counters of the vassal.
    Report(Report),
    /// The response to a [`Question`].
    Answer {
        /// The ticket of the question.
        ticket: u32,
        /// The response for the client.
        answer: Answer,
    },
}

/// A listening socket that the emperor keeps open for a vassal.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct HandedOverSocket {
    /// Its address, for the log.
    pub name: String,
    /// The file of a Unix socket.
    pub file: Option<KeptFile>,
}

/// The file of a Unix socket: its path and its identity.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct KeptFile {
    /// Absolute.
    pub path: PathBuf,
    /// The device.
    pub device: u64,
    /// The inode.
    pub inode: u64,
}

/// Counters of a vassal.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Report {
    /// Workers that accept requests.
    pub(crate) workers: u32,
    /// Requests served by the generations that exist now.
    pub(crate) requests: u64,
    /// The memory of all its processes in KiB, shared pages counted proportionally (PSS).
    pub(crate) memory_kib: u64,
}
