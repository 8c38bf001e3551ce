//! What `ruwsgi ls` and its kin ask, and what is answered: a line of JSON each, over a control socket.

use serde::{Deserialize, Serialize};

/// A question or an order.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) verb: Verb,
    /// Which vassal; none for all.
    pub(crate) name: Option<String>,
    /// Answer only when the order is carried out.
    pub(crate) wait: bool,
}

/// What is asked for.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verb {
    List,
    Reload,
    Stop,
    Start,
    Retry,
}

/// The answer.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct Answer {
    /// Why nothing was done.
    pub(crate) error: Option<String>,
    /// The vassals that were asked about.
    pub(crate) vassals: Vec<Row>,
}

impl Answer {
    /// Nothing was done, for this reason.
    pub(crate) fn refusal(sentence: impl Into<String>) -> Self {
        Self {
            error: Some(sentence.into()),
            ..Self::default()
        }
    }
}

/// How a vassal is.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) path: String,
    /// starting, ready, reloading, stopping, backing off, stopped, refused.
    pub(crate) state: String,
    /// What is wrong with it.
    pub(crate) reason: Option<String>,
    /// Seconds until it is tried again.
    pub(crate) next_try: Option<f64>,
    pub(crate) failures: u32,
    pub(crate) pid: Option<i32>,
    /// Seconds since it is ready.
    pub(crate) uptime: Option<u64>,
    pub(crate) workers: Option<u32>,
    pub(crate) requests: Option<u64>,
    pub(crate) memory_kib: Option<u64>,
}
