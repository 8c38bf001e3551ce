//! What `ruwsgi ls` and its kin ask the emperor, and what it answers: a line of JSON each, over its control socket.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::{Config, Invocation};
use crate::sys::user;

/// A question or an order.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) verb: Verb,
    /// Which vassal; none for all.
    pub(super) name: Option<String>,
    /// Answer only when the order is carried out.
    pub(super) wait: bool,
}

/// What is asked for.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verb {
    List,
    Reload,
    Stop,
    Start,
    Retry,
}

/// The answer.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(super) struct Answer {
    /// Why nothing was done.
    pub(super) error: Option<String>,
    /// The vassals that were asked about.
    pub(super) vassals: Vec<Row>,
}

/// How a vassal is.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) path: String,
    /// starting, ready, reloading, stopping, backing off, stopped, refused.
    pub(super) state: String,
    /// What is wrong with it.
    pub(super) reason: Option<String>,
    /// Seconds until it is tried again.
    pub(super) next_try: Option<f64>,
    pub(super) failures: u32,
    pub(super) pid: Option<i32>,
    /// Seconds since it is ready.
    pub(super) uptime: Option<u64>,
    pub(super) workers: Option<u32>,
    pub(super) requests: Option<u64>,
    pub(super) memory_kib: Option<u64>,
}

/// Where emperors have their control sockets: the first is where this user's are made.
pub(super) fn directories() -> Vec<PathBuf> {
    let system = PathBuf::from("/run/ruwsgi");
    if user::is_root() {
        return vec![system];
    }
    let own = match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) if !directory.is_empty() => PathBuf::from(directory).join("ruwsgi"),
        _ => std::env::temp_dir().join(format!("ruwsgi-{}", user::current_uid())),
    };
    vec![own, system]
}

/// The control socket of an emperor: one for each list of sources, so that two emperors do not share one.
pub(super) fn socket_path(config: &Config, invocation: &Invocation) -> PathBuf {
    if let Some(path) = config.emperor_control() {
        return invocation.cwd.join(path);
    }
    // systemd makes one for the service
    let given = invocation.variable("RUNTIME_DIRECTORY").map(PathBuf::from);
    let directory = given.or_else(|| directories().into_iter().next());
    let sources = config.emperor().iter();
    let sources: Vec<String> = sources
        .map(|source| invocation.cwd.join(source).display().to_string())
        .collect();
    directory
        .unwrap_or_default()
        .join(file_name(&sources.join(" ")))
}

/// A name that tells the sources, and that no other sources have.
fn file_name(sources: &str) -> String {
    const TOLD: usize = 40;
    let plain: String = sources
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let told = &plain[plain.len().saturating_sub(TOLD)..];
    // FNV-1a: the same in every version, unlike the standard library's
    let hash = sources
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{}-{:08x}.sock", told.trim_matches('-'), hash as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_have_names_of_their_own() {
        assert!(file_name("/etc/uwsgi/vassals").starts_with("etc-uwsgi-vassals-"));
        assert_ne!(file_name("/a/b"), file_name("/a-b"));
        assert!(file_name(&"é/".repeat(200)).len() < 60);
    }
}
