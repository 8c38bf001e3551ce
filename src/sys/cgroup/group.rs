//! A child cgroup.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::files::{PROCESSES, naming, words, write};

/// A cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(super) directory: PathBuf,
}

impl Group {
    /// The directory, for messages.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Opens its `cgroup.procs`: a process that writes `0` to it moves into the cgroup.
    ///
    /// # Errors
    /// Those of open(2).
    pub(crate) fn open_processes(&self) -> io::Result<OwnedFd> {
        let path = self.directory.join(PROCESSES);
        let file = fs::File::options().write(true).open(&path);
        file.map(OwnedFd::from)
            .map_err(|error| naming(&path, error))
    }

    /// Writes one of its files.
    ///
    /// # Errors
    /// Those of open(2) and write(2): `EINVAL` for an invalid value.
    pub(crate) fn set(&self, file: &str, text: &str) -> io::Result<()> {
        let path = self.directory.join(file);
        write(&path, text).map_err(|error| naming(&path, error))
    }

    /// Reads one of its files, without the trailing newline; `None` if there is no such file.
    pub(crate) fn get(&self, file: &str) -> Option<String> {
        let text = fs::read_to_string(self.directory.join(file)).ok()?;
        Some(text.trim_end().to_owned())
    }

    /// The number of OOM kills in it.
    pub(crate) fn kills(&self) -> u64 {
        let events = self.get("memory.events").unwrap_or_default();
        let line = events.lines().find_map(|it| it.strip_prefix("oom_kill "));
        line.and_then(|number| number.trim().parse().ok())
            .unwrap_or(0)
    }

    /// The ids of the processes in it.
    pub(crate) fn processes(&self) -> Vec<String> {
        words(&self.directory.join(PROCESSES)).unwrap_or_default()
    }

    /// Removes it; returns false while processes live in it.
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
