//! A child cgroup: its limits, processes and counters.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::files::{PROCESSES, naming, words, write};

/// A cgroup, identified by its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(super) directory: PathBuf,
}

impl Group {
    /// The directory of the cgroup, for messages.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Opens the cgroup's `cgroup.procs` for writing. A process that writes `0` to the descriptor moves into the
    /// cgroup.
    ///
    /// # Errors
    /// Those of open(2).
    pub(crate) fn open_processes(&self) -> io::Result<OwnedFd> {
        let path = self.directory.join(PROCESSES);
        let file = fs::File::options().write(true).open(&path);
        file.map(OwnedFd::from)
            .map_err(|error| naming(&path, error))
    }

    /// Writes `text` to the cgroup's file named `file`.
    ///
    /// # Errors
    /// Those of open(2) and write(2): `EINVAL` for an invalid value.
    pub(crate) fn set(&self, file: &str, text: &str) -> io::Result<()> {
        let path = self.directory.join(file);
        write(&path, text).map_err(|error| naming(&path, error))
    }

    /// Reads the cgroup's file named `file`, without the trailing newline; `None` if the file cannot be read.
    pub(crate) fn get(&self, file: &str) -> Option<String> {
        let text = fs::read_to_string(self.directory.join(file)).ok()?;
        Some(text.trim_end().to_owned())
    }

    /// The number of OOM kills in the cgroup (`oom_kill` of `memory.events`); 0 if it cannot be read.
    pub(crate) fn kills(&self) -> u64 {
        let events = self.get("memory.events").unwrap_or_default();
        let line = events.lines().find_map(|it| it.strip_prefix("oom_kill "));
        line.and_then(|number| number.trim().parse().ok())
            .unwrap_or(0)
    }

    /// The ids of the processes in the cgroup; empty if they cannot be read.
    pub(crate) fn processes(&self) -> Vec<String> {
        words(&self.directory.join(PROCESSES)).unwrap_or_default()
    }

    /// Removes the cgroup. Returns true if the cgroup is gone, false if it is still in use (`EBUSY`).
    ///
    /// # Errors
    /// Those of rmdir(2).
    pub(crate) fn remove(&self) -> io::Result<bool> {
        match fs::remove_dir(&self.directory) {
            Ok(()) => Ok(true),
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT) => Ok(true),
                Some(libc::EBUSY) => Ok(false),
                _ => Err(naming(&self.directory, error)),
            },
        }
    }
}
