//! Finds threads, connections and held locks that the application has created in the zygote. They do not survive a
//! fork, and the resulting errors appear much later and in other places. Therefore one warning names them.

use std::ffi::CString;
use std::fs;
use std::os::fd::RawFd;

use pyo3::prelude::*;
use pyo3::types::PyModule;
use ruwsgi::sys::socket;

/// Python code that describes the threads and the held locks. It runs only if the process has more than one thread.
const DESCRIBE: &str = include_str!("fork_safety.py");

/// Maximum number of findings that the warning names.
const NAMED: usize = 12;

/// Checks this process after the import of the application, and logs a warning about the findings. With a single thread
/// the check runs no Python code and only reads /proc.
pub fn warn(py: Python<'_>) {
    let mut found = Vec::new();
    if threads() > 1 {
        found = describe(py).unwrap_or_default();
        if found.is_empty() {
            // the additional threads may belong to numerical libraries, which handle forks themselves
            tracing::info!(
                "{} native threads run in the process that forks the workers; they do not exist in the workers",
                threads() - 1
            );
        }
    }
    found.extend(connections());
    if found.is_empty() {
        return;
    }
    let more = match found.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; {more} more"),
    };
    found.truncate(NAMED);
    tracing::warn!(
        "after the import, the process that forks the workers has {}{more}. Threads do not exist in the workers, all workers share a connection, and a held lock is never released there: create them in a function with @uwsgidecorators.postfork, or set lazy-apps",
        found.join("; ")
    );
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

fn describe(py: Python<'_>) -> PyResult<Vec<String>> {
    let code = CString::new(DESCRIBE)?;
    let module = PyModule::from_code(
        py,
        &code,
        c"<ruwsgi>/fork_safety.py",
        c"_ruwsgi_fork_safety",
    )?;
    module.getattr("describe")?.call0()?.extract()
}

/// Describes the stream sockets that are connected to a peer with an address. Listening sockets, socket pairs and
/// datagram sockets are left out, because they are harmless or belong to ruwsgi.
fn connections() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let sockets = entries.filter(|entry| {
        fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
    });
    let numbers = sockets.filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok());
    // descriptors 0 to 2 belong to the log
    let mut numbers: Vec<RawFd> = numbers.filter(|number| *number > 2).collect();
    numbers.sort_unstable();
    numbers
        .into_iter()
        .filter_map(socket::stream_peer)
        .map(|peer| format!("a connection to {peer}"))
        .collect()
}
