//! What `ruwsgi ls` and its kin ask, and what is answered: a line of JSON each, over a control socket.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A question or an order.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) verb: Verb,
    /// Who is meant: a name or an absolute path; none for all, or for whoever answers.
    pub(crate) name: Option<String>,
    /// Who is meant: its master's process id.
    #[serde(default)]
    pub(crate) pid: Option<i32>,
    /// Answer only when the order is carried out.
    pub(crate) wait: bool,
    /// The worker that is meant.
    #[serde(default)]
    pub(crate) worker: Option<u32>,
    /// How many workers there are to be.
    #[serde(default)]
    pub(crate) count: Option<Count>,
    /// At once, whatever it costs.
    #[serde(default)]
    pub(crate) now: bool,
}

/// What is asked for.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verb {
    /// How all are, or one is.
    List,
    /// Who is called so.
    Find,
    /// Everything about one.
    Status,
    Reload,
    Stop,
    Start,
    Retry,
    KillWorker,
    Scale,
}

impl Verb {
    /// As it is typed.
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

/// A number of workers.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Count {
    /// So many.
    To(u32),
    /// So many more, or fewer.
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
        count.ok_or_else(|| format!("{text} is no number of workers: write 4, +1 or -1"))
    }

    /// The number, where it is `now` until now.
    pub(crate) fn of(self, now: u32) -> i64 {
        match self {
            Self::To(number) => i64::from(number),
            Self::By(more) => i64::from(now) + i64::from(more),
        }
    }
}

impl Request {
    /// A request about all, or about whoever answers.
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

/// The answer.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct Answer {
    /// Why nothing was done.
    pub(crate) error: Option<String>,
    /// The vassals and instances that were asked about.
    pub(crate) vassals: Vec<Row>,
}

/// What is said to bytes that are no request.
const NO_REQUEST: &str = "this is no request; is the ruwsgi that asks of the same version?";

impl Answer {
    /// The answer to bytes that are no request.
    pub(crate) fn not_understood() -> Self {
        Self::refusal(NO_REQUEST)
    }

    /// Whether the request was not understood, by a ruwsgi of another version.
    pub(crate) fn is_not_understood(&self) -> bool {
        self.error.as_deref() == Some(NO_REQUEST)
    }

    /// Nothing was done, for this reason.
    pub(crate) fn refusal(sentence: impl Into<String>) -> Self {
        Self {
            error: Some(sentence.into()),
            ..Self::default()
        }
    }

    /// How one is.
    pub(crate) fn of(row: Row) -> Self {
        Self {
            error: None,
            vassals: vec![row],
        }
    }
}

/// How a vassal or an instance is.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) path: String,
    /// starting, ready, reloading, stopping, backing off, stopped, refused.
    pub(crate) state: String,
    /// What is wrong with it.
    pub(crate) reason: Option<String>,
    /// Python's, for the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceback: Option<String>,
    /// Seconds until it is tried again.
    pub(crate) next_try: Option<f64>,
    pub(crate) failures: u32,
    pub(crate) pid: Option<i32>,
    /// Seconds since it is ready.
    pub(crate) uptime: Option<u64>,
    pub(crate) workers: Option<u32>,
    pub(crate) requests: Option<u64>,
    pub(crate) memory_kib: Option<u64>,
    /// What its cgroup takes of what it may, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limits: Option<String>,
    /// What is in it, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instance: Option<Instance>,
    /// What it rules over, of an emperor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) emperor: Option<Emperor>,
}

/// What an emperor is and rules over.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct Emperor {
    pub(crate) version: String,
    /// As whom it runs.
    pub(crate) user: String,
    /// Where its vassals come from.
    pub(crate) sources: Vec<String>,
    /// How many of those that whoever asks may see are in which state.
    pub(crate) vassals: BTreeMap<String, u32>,
    /// The memory of these, KiB; `memory_kib` of the row is the emperor's own.
    pub(crate) vassals_kib: u64,
    /// Its options for vassals, with their values.
    pub(crate) options: Vec<(String, String)>,
}

/// What an instance consists of.
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
    /// Of all its workers, those that are gone included.
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
    /// Seconds since it was forked.
    pub(crate) age: Option<f64>,
    /// Its memory, what it shares counted in part (PSS).
    pub(crate) memory_kib: Option<u64>,
    /// The requests that it works on.
    pub(crate) doing: Vec<Doing>,
}

/// A request in flight.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct Doing {
    /// From 0.
    pub(crate) thread: u32,
    /// Method and URI.
    pub(crate) request: String,
    pub(crate) client: String,
    /// Seconds.
    pub(crate) age: f64,
}

/// A listening socket.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct Socket {
    pub(crate) name: String,
    /// uwsgi or http.
    pub(crate) protocol: String,
    /// Connections that wait to be accepted; none where the kernel does not say.
    pub(crate) queue: Option<u32>,
    /// As many may wait.
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
