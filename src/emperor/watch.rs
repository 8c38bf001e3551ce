//! Watches the vassal files for changes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use crate::watch::{Change, FileWatch, Timing};

/// The delays of the watch. A vassal's file must be unchanged for a while before it is read.
pub(super) const TIMING: Timing = Timing {
    quiet: Duration::from_millis(50),
    writing: Duration::from_secs(1),
    removed: Duration::from_millis(200),
    longest: Duration::from_secs(1),
};

/// Watches the directories of the sources, and the targets of vassal files that are symbolic links.
pub(super) struct VassalWatch {
    files: FileWatch,
    /// Whether an error has been logged. Only the first error is logged, because each vassal and each scan may cause an
    /// error.
    logged: bool,
}

impl VassalWatch {
    /// Creates a watch of no file.
    ///
    /// # Errors
    /// Returns the errors of inotify_init1(2).
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            files: FileWatch::new()?,
            logged: false,
        })
    }

    /// Watches a source's directory. Call this at each scan, because the directory may have been created or replaced.
    pub(super) fn watch_source(&mut self, directory: &Path) {
        let result = self.files.watch_directory(directory);
        self.log(directory, result);
    }

    /// Watches the target of the link at `path`, and the links on the way to the target. Call this after each change of
    /// the target or of a link.
    pub(super) fn follow_link(&mut self, path: &Path) {
        let result = self.files.follow_link(path);
        self.log(path, result);
    }

    /// Stops the watch that [`VassalWatch::follow_link`] began for the link at `path`, if there is one.
    pub(super) fn unfollow_link(&mut self, path: &Path) {
        self.files.unfollow_link(path);
    }

    /// Reads the changes that have arrived since the last call.
    ///
    /// # Errors
    /// Returns the errors of read(2).
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
