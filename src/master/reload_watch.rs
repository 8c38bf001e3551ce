//! Watches the paths of `fs-reload` and `fs-brutal-reload`, and selects the changes that request a reload.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::sys::path_error;
use crate::watch::{Change, ChangeKind, Debounce, FileWatch, Timing};

use super::signals::ReloadMode;
use super::watched_path::WatchedPath;

const QUIET: Duration = Duration::from_millis(100);

const TIMING: Timing = Timing {
    quiet: QUIET,
    writing: QUIET,
    removed: QUIET,
    longest: Duration::from_secs(2),
};

/// The watched paths, and the pending change.
#[derive(Debug)]
pub(super) struct ReloadWatch {
    files: FileWatch,
    paths: Vec<(WatchedPath, ReloadMode)>,
    /// All changes share one key, because they result in one reload.
    debounce: Debounce<()>,
    /// The first path that has changed, and the harshest mode of all changed paths; `None` if no change is pending.
    changed: Option<(PathBuf, ReloadMode)>,
}

impl ReloadWatch {
    /// Creates a watch without paths.
    ///
    /// # Errors
    /// Those of inotify_init1(2).
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            files: FileWatch::new()?,
            paths: Vec::new(),
            debounce: Debounce::new(TIMING),
            changed: None,
        })
    }

    /// Replaces the watched paths. Logs an error for each path that cannot be watched.
    pub(super) fn watch(&mut self, paths: &[(PathBuf, ReloadMode)]) {
        self.paths.clear();
        for (path, mode) in paths {
            let watched = WatchedPath::new(path);
            match self.files.watch_directory(watched.directory()) {
                Ok(()) => self.paths.push((watched, *mode)),
                Err(error) => tracing::error!(
                    "{} cannot be watched (fs-reload): {}",
                    watched.shown().display(),
                    path_error::reason(watched.directory(), &error)
                ),
            }
        }
        let kept = self
            .paths
            .iter()
            .map(|(path, _)| path.directory().to_owned());
        self.files.retain_directories(&kept.collect::<Vec<_>>());
    }

    /// Reads the pending events of inotify, and delays the reload until no more changes arrive. The caller calls this
    /// when the descriptor is readable.
    pub(super) fn read(&mut self, now: Instant) {
        for change in self.files.read().unwrap_or_default() {
            let changed = |(path, _): &&(WatchedPath, _)| path.is_source_changed_by(&change);
            for (path, new_mode) in self.paths.iter().filter(changed) {
                let (_, mode) = self.changed.get_or_insert_with(|| {
                    let path = match &change {
                        Change::File(path, _) | Change::Directory(path, _) => path,
                        Change::Everything => path.shown(),
                    };
                    (path.to_owned(), ReloadMode::Graceful)
                });
                *mode = (*new_mode).max(*mode);
                self.debounce.changed((), ChangeKind::Complete, now);
            }
        }
    }

    /// The time at which [`ReloadWatch::due`] will return a change; `None` if no change is pending.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.debounce.deadline()
    }

    /// Takes the change if it is due: the first path that has changed, and the mode of the reload.
    pub(super) fn due(&mut self, now: Instant) -> Option<(PathBuf, ReloadMode)> {
        self.debounce.due(now).pop()?;
        self.changed.take()
    }
}

impl AsFd for ReloadWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.files.as_fd()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;

    /// Reads the pending events and returns the reload that they request.
    fn reload(watch: &mut ReloadWatch) -> Option<(PathBuf, ReloadMode)> {
        let now = Instant::now();
        watch.read(now);
        assert!(watch.due(now).is_none(), "due before it was quiet");
        watch.due(now + QUIET)
    }

    #[test]
    fn a_change_in_a_directory_counts_unless_the_file_is_no_source() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = ReloadWatch::new().unwrap();
        watch.watch(&[(dir.path().to_owned(), ReloadMode::Graceful)]);
        assert_eq!(reload(&mut watch), None);
        fs::create_dir(dir.path().join("__pycache__")).unwrap();
        fs::write(dir.path().join(".app.py.swp"), "").unwrap();
        fs::write(dir.path().join("app.py~"), "").unwrap();
        fs::write(dir.path().join("app.pyc"), "").unwrap();
        assert_eq!(reload(&mut watch), None);
        let path = dir.path().join("app.py");
        fs::write(&path, "x = 1").unwrap();
        assert_eq!(reload(&mut watch), Some((path, ReloadMode::Graceful)));
        assert_eq!(reload(&mut watch), None);
    }

    #[test]
    fn a_file_that_is_replaced_counts_and_its_neighbours_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings");
        fs::write(&path, "1").unwrap();
        let mut watch = ReloadWatch::new().unwrap();
        watch.watch(&[(path.clone(), ReloadMode::Brutal)]);
        fs::write(dir.path().join("beside"), "1").unwrap();
        assert_eq!(reload(&mut watch), None);
        fs::rename(dir.path().join("beside"), &path).unwrap();
        assert_eq!(reload(&mut watch), Some((path, ReloadMode::Brutal)));
        watch.watch(&[]);
        fs::write(dir.path().join("settings"), "2").unwrap();
        assert_eq!(reload(&mut watch), None);
    }

    #[test]
    fn a_directory_and_a_file_of_it_make_one_reload_in_the_harsher_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings");
        let mut watch = ReloadWatch::new().unwrap();
        watch.watch(&[
            (dir.path().to_owned(), ReloadMode::Graceful),
            (path.clone(), ReloadMode::Brutal),
        ]);
        fs::write(&path, "1").unwrap();
        assert_eq!(reload(&mut watch), Some((path, ReloadMode::Brutal)));
        assert_eq!(reload(&mut watch), None);
    }
}
