//! Requests to a control socket and their responses: one line of JSON each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A request of a client.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) verb: Verb,
    /// The target: a name or an absolute path; `None` for all, or for the process at the socket.
    pub(crate) name: Option<String>,
    /// The target: the process id of its master.
    #[serde(default)]
    pub(crate) pid: Option<i32>,
    /// Respond after the order is complete.
    pub(crate) wait: bool,
    /// The number of a worker, for `kill-worker`.
    #[serde(default)]
    pub(crate) worker: Option<u32>,
    /// The number of workers, for `scale`.
    #[serde(default)]
    pub(crate) count: Option<Count>,
    /// Kill the worker at once, with its requests.
    #[serde(default)]
    pub(crate) now: bool,
}

/// The action of a request.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verb {
    /// State and counters of all, or of one.
    List,
    /// The instances with this name.
    Find,
    /// All details of one.
    Status,
    Reload,
    Stop,
    Start,
    Retry,
    KillWorker,
    Scale,
}

impl Verb {
    /// The verb of the command line.
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
    /// Exactly this many.
    To(u32),
    /// This many more, or fewer if negative.
    By(i32),
}

impl Count {
    /// Reads `4`, `+2` or `-1`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let number = text.parse::<i32>();
        let count = match (text.starts_with(['+', '-']), number) {
            (true, Ok(number)) => Some(Self::By(number)),
            (false, Ok(number)) => u32::try_from(number).ok().map(Self::To),
            (_, Err(_)) => None,
        };
        count.ok_or_else(|| format!("{text} is not a number of workers; write 4, +1 or -1"))
    }

    /// The resulting number, if the current number is `now`.
    pub(crate) fn of(self, now: u32) -> i64 {
        match self {
            Self::To(number) => i64::from(number),
            Self::By(more) => i64::from(now) + i64::from(more),
        }
    }
}

impl Request {
    /// A request without a target.
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

/// A response.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct Answer {
    /// Why the request was refused.
    pub(crate) error: Option<String>,
    /// The vassals and instances of the request.
    pub(crate) vassals: Vec<Row>,
}

/// The refusal of bytes that are not a request.
const NO_REQUEST: &str = "this is no request; are the client and the server of the same version?";

impl Answer {
    /// The response to bytes that are not a request.
    pub(crate) fn not_understood() -> Self {
        Self::refusal(NO_REQUEST)
    }

    /// Whether the server did not understand the request; it is of another version then.
    pub(crate) fn is_not_understood(&self) -> bool {
        self.error.as_deref() == Some(NO_REQUEST)
    }

    /// A refusal with its reason.
    pub(crate) fn refusal(sentence: impl Into<String>) -> Self {
        Self {
            error: Some(sentence.into()),
            ..Self::default()
        }
    }

    /// A response about one vassal or instance.
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
    /// starting, ready, reloading, stopping, backing off, stopped, refused.
    pub(crate) state: String,
    /// The reason of the last failure.
    pub(crate) reason: Option<String>,
    /// Python's traceback of the last failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceback: Option<String>,
    /// Seconds until the next start.
    pub(crate) next_try: Option<f64>,
    pub(crate) failures: u32,
    pub(crate) pid: Option<i32>,
    /// Seconds since it became ready.
    pub(crate) uptime: Option<u64>,
    pub(crate) workers: Option<u32>,
    pub(crate) requests: Option<u64>,
    pub(crate) memory_kib: Option<u64>,
    /// Usage and limits of its cgroup, in a detailed status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limits: Option<String>,
    /// Its generations and sockets, in a detailed status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instance: Option<Instance>,
    /// The vassals and options of an emperor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) emperor: Option<Emperor>,
}

/// The status of an emperor.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct Emperor {
    pub(crate) version: String,
    /// The user it runs as.
    pub(crate) user: String,
    /// The sources of its vassals.
    pub(crate) sources: Vec<String>,
    /// Vassals visible to the client, counted by state.
    pub(crate) vassals: BTreeMap<String, u32>,
    /// The memory of these vassals, KiB; `memory_kib` of the row is that of the emperor itself.
    pub(crate) vassals_kib: u64,
    /// Its options for vassals, with their values.
    pub(crate) options: Vec<(String, String)>,
}

/// The parts of an instance.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct Instance {
    pub(crate) generations: Vec<Generation>,
    pub(crate) sockets: Vec<Socket>,
}

/// A zygote and its workers.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct Generation {
    pub(crate) number: u32,
    /// being started, serving, being prepared by a reload, leaving.
    pub(crate) state: String,
    /// Its zygote's process id.
    pub(crate) zygote: Option<i32>,
    /// Requests of all its workers, including those that have exited.
    pub(crate) requests: u64,
    pub(crate) workers: Vec<Worker>,
}

/// A worker's slot.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct Worker {
    pub(crate) slot: u32,
    pub(crate) pid: Option<i32>,
    /// empty, being forked, starting, ready, serving, leaving, killed.
    pub(crate) state: String,
    pub(crate) requests: u64,
    /// Responses that did not reach their clients completely.
    #[serde(default)]
    pub(crate) cut_responses: u64,
    /// Seconds since it was forked.
    pub(crate) age: Option<f64>,
    /// Its memory in KiB, shared pages counted proportionally (PSS).
    pub(crate) memory_kib: Option<u64>,
    /// The requests in flight.
    pub(crate) doing: Vec<RequestStatus>,
}

/// A request in flight.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct RequestStatus {
    /// From 0.
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
    /// uwsgi or http.
    pub(crate) protocol: String,
    /// Connections in the accept queue; `None` if the kernel does not report it.
    pub(crate) queue: Option<u32>,
    /// The length of the accept queue (`listen`).
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
