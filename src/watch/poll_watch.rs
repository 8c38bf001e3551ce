//! Watches files for `touch-*`, `hook-touch` and `py-autoreload`: compares their state (stat(2)) at intervals.
//!
//! inotify(7) is not used here. uWSGI's options compare modification times too. The comparison also works on network
//! file systems and bind mounts, where the kernel does not report changes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// The default interval between two comparisons.
const INTERVAL: Duration = Duration::from_millis(500);

/// Maximum number of files that [`PollWatch::add`] watches. An application has thousands of files.
const MAX_FILES: usize = 20_000;

/// The inode of a file and its modification time, in seconds and nanoseconds; `None` if stat(2) finds no file.
type FileState = Option<(u64, i64, i64)>;

/// The watched files and their last known states.
#[derive(Debug, Default)]
pub struct PollWatch {
    files: BTreeMap<PathBuf, FileState>,
    due: Option<Instant>,
    /// The interval between two comparisons; `None` means [`INTERVAL`].
    interval: Option<Duration>,
}

impl PollWatch {
    /// Watches exactly the files at `paths`; all others are dropped. A file that was watched before keeps its known
    /// state.
    pub fn watch<'a>(&mut self, paths: impl Iterator<Item = &'a String>, now: Instant) {
        let mut files = BTreeMap::new();
        for path in paths {
            let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
            let known = self.files.get(&path).copied();
            let state = known.unwrap_or_else(|| state(&path));
            files.insert(path, state);
        }
        self.due = (!files.is_empty()).then_some(now + INTERVAL);
        self.files = files;
    }

    /// Adds files to the watched files, and sets the interval for all of them. A file that was modified after `since`
    /// counts as changed, because the application may have read it before the modification.
    pub fn add(
        &mut self,
        paths: impl Iterator<Item = String>,
        since: SystemTime,
        interval: Duration,
        now: Instant,
    ) {
        self.interval = Some(interval);
        for path in paths.map(PathBuf::from) {
            if self.files.len() < MAX_FILES && !self.files.contains_key(&path) {
                let modified = fs::metadata(&path).and_then(|it| it.modified()).ok();
                // a file with a modification time in the future is ignored, because it would count as changed after
                // every reload
                let is_newer = modified.is_some_and(|it| it > since && it <= SystemTime::now());
                let known = if is_newer { None } else { state(&path) };
                self.files.insert(path, known);
            }
        }
        self.due.get_or_insert(now + interval);
    }

    /// The time at which [`PollWatch::changed`] compares the files again; `None` if no files are watched.
    pub fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Compares the files with their known states, if the interval has passed. Returns a file that was modified,
    /// created or removed. If several files have changed, only one of them is returned, and the new states of all are
    /// recorded.
    pub fn changed(&mut self, now: Instant) -> Option<PathBuf> {
        if self.due.is_none_or(|due| now < due) {
            return None;
        }
        self.due = Some(now + self.interval.unwrap_or(INTERVAL));
        let mut changed = None;
        for (path, known) in &mut self.files {
            let state = state(path);
            if state != *known {
                *known = state;
                changed = Some(path.clone());
            }
        }
        changed
    }
}

fn state(path: &Path) -> FileState {
    let file = fs::metadata(path).ok()?;
    Some((file.ino(), file.mtime(), file.mtime_nsec()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_created_modified_or_removed_is_reported_once_each() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("touched");
        let mut now = Instant::now();
        let mut files = PollWatch::default();
        files.watch([path.to_str().unwrap().to_owned()].iter(), now);
        let mut changed = || {
            now = files.deadline().unwrap();
            files.changed(now).is_some()
        };
        assert!(!changed());
        fs::write(&path, "").unwrap();
        assert!(changed() && !changed());
        let then = std::time::SystemTime::now() + Duration::from_millis(3);
        fs::File::open(&path).unwrap().set_modified(then).unwrap();
        assert!(changed() && !changed());
        fs::remove_file(&path).unwrap();
        assert!(changed() && !changed());
    }

    #[test]
    fn a_file_that_was_modified_after_it_was_read_counts_as_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.py");
        fs::write(&path, "").unwrap();
        let path = || [path.to_str().unwrap().to_owned()].into_iter();
        let now = Instant::now();
        let interval = Duration::from_secs(1);
        let mut files = PollWatch::default();
        files.add(path(), SystemTime::now(), interval, now);
        assert_eq!(files.changed(now + interval), None);
        let mut files = PollWatch::default();
        files.add(path(), SystemTime::UNIX_EPOCH, interval, now);
        assert!(files.changed(now + interval).is_some());
    }

    #[test]
    fn without_files_there_is_no_deadline() {
        let mut files = PollWatch::default();
        files.watch([].iter(), Instant::now());
        assert_eq!(files.deadline(), None);
    }
}
