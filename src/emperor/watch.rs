//! The vassal files that the emperor watches.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use crate::watch::{Change, FileWatch, Timing};

/// How long a vassal file has to rest until it is read.
pub(super) const TIMING: Timing = Timing {
    quiet: Duration::from_millis(50),
    writing: Duration::from_secs(1),
    removed: Duration::from_millis(200),
    longest: Duration::from_secs(1),
};

/// The directories of the sources, and the vassal files that are symbolic links.
pub(super) struct VassalWatch {
    files: FileWatch,
    /// An error has been logged; there may be one per vassal and scan.
    logged: bool,
}

impl VassalWatch {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// Those of inotify_init1(2).
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            files: FileWatch::new()?,
            logged: false,
        })
    }

    /// Watches a source's directory. Call it at each scan: the directory may have been created or replaced.
    pub(super) fn watch_source(&mut self, directory: &Path) {
        let result = self.files.watch_directory(directory);
        self.log(directory, result);
    }

    /// Watches the file that the link at `path` leads to, and the names that lead there. Call it after each change.
    pub(super) fn follow_link(&mut self, path: &Path) {
        let result = self.files.follow_link(path);
        self.log(path, result);
    }

    /// Stops following the link at `path`, if there was one.
    pub(super) fn unfollow_link(&mut self, path: &Path) {
        self.files.unfollow_link(path);
    }

    /// Reads the changes that have arrived.
    ///
    /// # Errors
    /// Those of read(2).
    pub(super) fn read(&mut self) -> io::Result<Vec<Change>> {
        self.files.read()
    }

    fn log(&mut self, path: &Path, result: io::Result<()>) {
        let Err(error) = result else {
            return;
        };
        if error.kind() != io::ErrorKind::NotFound && !self.logged {
            self.logged = true;
            tracing::warn!(
                "{} cannot be watched ({error}): changes there are seen only every emperor-freq seconds",
                path.display()
            );
        }
    }
}

impl AsFd for VassalWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.files.as_fd()
    }
}
