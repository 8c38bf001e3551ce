//! Requests to a control socket and their responses. Each request and each response is one line of JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A client's request to a control socket.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) verb: Verb,
    /// The requested vassal, by its name or by the absolute path of its configuration. `None` means all vassals if an
    /// emperor owns the socket, otherwise the instance that owns the socket.
    pub(crate) name: Option<String>,
    /// The requested vassal, by the process id of its master.
    #[serde(default)]
    pub(crate) pid: Option<i32>,
    /// Whether to respond only after the action is complete.
    pub(crate) wait: bool,
    /// The worker to kill, for `kill-worker`.
    #[serde(default)]
    pub(crate) worker: Option<u32>,
    /// The number of workers, for `scale`.
    #[serde(default)]
    pub(crate) count: Option<Count>,
    /// For `kill-worker`: whether to kill the worker at once. Its requests in flight are lost then.
    #[serde(default)]
    pub(crate) now: bool,
}

/// The action of a request.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verb {
    /// Report the state and the counters of the requested vassal, or of all vassals.
    List,
    /// Report the instances with the requested name.
    Find,
    /// Report all details of the requested vassal or instance.
    Status,
    Reload,
    Stop,
    Start,
    Retry,
    KillWorker,
    Scale,
}

impl Verb {
    /// Returns the verb as it is written on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::List => "ls",
            Self::Find => "find",
            Self::Status => "status",
            Self::Reload => "reload",
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Retry => "retry",
            Self::KillWorker => "kill-worker",
            Self::Scale => "scale",
        }
    }
}

/// A number of workers, absolute or relative.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Count {
    /// The absolute number of workers.
    To(u32),
    /// The number of workers to add; negative to remove workers.
    By(i32),
}

impl Count {
    /// Parses `4` (absolute), `+2` or `-1` (relative).
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let number = text.parse::<i32>();
        let count = match (text.starts_with(['+', '-']), number) {
            (true, Ok(number)) => Some(Self::By(number)),
            (false, Ok(number)) => u32::try_from(number).ok().map(Self::To),
            (_, Err(_)) => None,
        };
        count.ok_or_else(|| format!("{text} is not a number of workers; write 4, +1 or -1"))
    }

    /// Returns the resulting number of workers if the current number is `now`. The result can be negative.
    pub(crate) fn of(self, now: u32) -> i64 {
        match self {
            Self::To(number) => i64::from(number),
            Self::By(more) => i64::from(now) + i64::from(more),
        }
    }
}

impl Request {
    /// Creates a request that names no vassal.
    pub(crate) fn to_all(verb: Verb) -> Self {
        Self {
            verb,
            name: None,
            pid: None,
            wait: false,
            worker: None,
            count: None,
            now: false,
        }
    }
}

/// A response to a [`Request`].
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct Answer {
    /// The reason why the request was refused; `None` if it was accepted.
    pub(crate) error: Option<String>,
    /// The status of each requested vassal or instance.
    pub(crate) vassals: Vec<Row>,
}

/// The error text of the response to bytes that are not a request.
const NO_REQUEST: &str = "this is no request; are the client and the server of the same version?";

impl Answer {
    /// Creates the response to bytes that are not a request.
    pub(crate) fn not_understood() -> Self {
        Self::refusal(NO_REQUEST)
    }

    /// Whether the server could not parse the request. The client and the server then have different versions.
    pub(crate) fn is_not_understood(&self) -> bool {
        self.error.as_deref() == Some(NO_REQUEST)
    }

    /// Creates a refusal. `sentence` is the reason.
    pub(crate) fn refusal(sentence: impl Into<String>) -> Self {
        Self {
            error: Some(sentence.into()),
            ..Self::default()
        }
    }

    /// Creates a response with the status of one vassal or instance.
    pub(crate) fn of(row: Row) -> Self {
        Self {
            error: None,
            vassals: vec![row],
        }
    }
}

/// The status of a vassal or an instance.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) path: String,
    /// The state in words, such as `waiting`, `starting`, `ready`, `reloading`, `stopping`, `backing off`, `on demand`,
    /// `stopped` or `failed`.
    pub(crate) state: String,
    /// The reason of the last failure.
    pub(crate) reason: Option<String>,
    /// Python's traceback of the last failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceback: Option<String>,
    /// Seconds until the next start attempt; `None` if no attempt is scheduled.
    pub(crate) next_try: Option<f64>,
    pub(crate) failures: u32,
    pub(crate) pid: Option<i32>,
    /// Seconds since the vassal or instance became ready.
    pub(crate) uptime: Option<u64>,
    pub(crate) workers: Option<u32>,
    pub(crate) requests: Option<u64>,
    pub(crate) memory_kib: Option<u64>,
    /// Usage and limits of the vassal's cgroup; only in a detailed status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limits: Option<String>,
    /// The generations and sockets of the instance; only in a detailed status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instance: Option<Instance>,
    /// The vassals and options, if the row describes an emperor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) emperor: Option<Emperor>,
}

/// The status of an emperor.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct Emperor {
    pub(crate) version: String,
    /// The user that the emperor runs as.
    pub(crate) user: String,
    /// The directories and other sources of the vassals' configurations.
    pub(crate) sources: Vec<String>,
    /// Vassals visible to the client, counted by state.
    pub(crate) vassals: BTreeMap<String, u32>,
    /// The total memory of the visible vassals, KiB. The row's `memory_kib` is the memory of the emperor process alone.
    pub(crate) vassals_kib: u64,
    /// The emperor's options for vassals, with their values.
    pub(crate) options: Vec<(String, String)>,
}

/// The generations and sockets of an instance.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct Instance {
    pub(crate) generations: Vec<Generation>,
    pub(crate) sockets: Vec<Socket>,
    /// Number of signals of timers, cron entries and files that were skipped, because their handlers still ran.
    #[serde(default)]
    pub(crate) skipped_signals: u64,
}

/// A zygote and its workers.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct Generation {
    pub(crate) number: u32,
    /// The state in words: `being started`, `serving`, `being prepared by a reload`, `taking over` or `leaving`.
    pub(crate) state: String,
    /// The process id of the generation's zygote.
    pub(crate) zygote: Option<i32>,
    /// Number of requests of all workers of the generation, including workers that have exited.
    pub(crate) requests: u64,
    pub(crate) workers: Vec<Worker>,
    #[serde(default)]
    pub(crate) mules: Vec<Mule>,
}

/// A mule.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct Mule {
    pub(crate) id: u32,
    pub(crate) pid: Option<i32>,
    /// The state, in the same words as the state of a worker.
    pub(crate) state: String,
    /// Number of messages and signals that the mule has handled.
    pub(crate) handled: u64,
    /// Seconds since the mule was forked.
    pub(crate) age: Option<f64>,
    /// The mule's memory in KiB, shared pages counted proportionally (PSS).
    pub(crate) memory_kib: Option<u64>,
}

/// A worker slot and its current worker.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct Worker {
    pub(crate) slot: u32,
    pub(crate) pid: Option<i32>,
    /// The state in words: empty, being forked, waiting for the exit of its predecessor, starting, ready (waiting for
    /// its generation), serving, leaving, killed.
    pub(crate) state: String,
    pub(crate) requests: u64,
    /// Number of responses that did not reach their clients completely.
    #[serde(default)]
    pub(crate) cut_responses: u64,
    /// Number of signals of the application that the worker has handled.
    #[serde(default)]
    pub(crate) signals: u64,
    /// Seconds since the worker was forked.
    pub(crate) age: Option<f64>,
    /// The worker's memory in KiB, shared pages counted proportionally (PSS).
    pub(crate) memory_kib: Option<u64>,
    /// The requests in flight of this worker.
    pub(crate) doing: Vec<RequestStatus>,
}

/// A request in flight.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct RequestStatus {
    /// The thread's index, from 0.
    pub(crate) thread: u32,
    /// Method and URI.
    pub(crate) request: String,
    pub(crate) client: String,
    /// Seconds since the request began.
    pub(crate) age: f64,
}

/// A listening socket.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct Socket {
    pub(crate) name: String,
    /// The protocol: uwsgi or http.
    pub(crate) protocol: String,
    /// Number of connections in the accept queue; `None` if the kernel does not report it.
    pub(crate) queue: Option<u32>,
    /// The maximum length of the accept queue (`listen`).
    pub(crate) longest_queue: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_absolute_or_relative() {
        assert_eq!(Count::parse("4"), Ok(Count::To(4)));
        assert_eq!(Count::parse("+2").map(|count| count.of(3)), Ok(5));
        assert_eq!(Count::parse("-4").map(|count| count.of(3)), Ok(-1));
        for text in ["", "many", "1.5", "99999999999"] {
            assert!(Count::parse(text).is_err(), "{text}");
        }
    }
}
