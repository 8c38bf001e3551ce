//! Files whose change asks for a reload (`touch-reload`, `py-autoreload`).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// How often they are looked at.
const PAUSE: Duration = Duration::from_millis(500);

/// What tells one state of a file from another: its inode, and the time of its last change with nanoseconds.
type State = Option<(u64, i64, i64)>;

/// Files that are watched, at the most: an application has thousands.
const MOST: usize = 20_000;

/// The files that are watched.
#[derive(Debug, Default)]
pub(super) struct Touches {
    files: BTreeMap<PathBuf, State>,
    due: Option<Instant>,
    /// How often they are looked at, if not as usual.
    pause: Option<Duration>,
}

impl Touches {
    /// Watches these files from now on. Those that were watched before keep what is known of them.
    pub(super) fn watch<'a>(&mut self, paths: impl Iterator<Item = &'a String>, now: Instant) {
        let mut files = BTreeMap::new();
        for path in paths {
            let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
            let known = self.files.get(&path).copied();
            let state = known.unwrap_or_else(|| state(&path));
            files.insert(path, state);
        }
        self.due = (!files.is_empty()).then_some(now + PAUSE);
        self.files = files;
    }

    /// Watches further files, from now on every `pause`. One that has changed after `since`, when it may have been read
    /// already, counts as changed.
    pub(super) fn add(
        &mut self,
        paths: impl Iterator<Item = String>,
        since: SystemTime,
        pause: Duration,
        now: Instant,
    ) {
        self.pause = Some(pause);
        for path in paths.map(PathBuf::from) {
            if self.files.len() < MOST && !self.files.contains_key(&path) {
                let about = fs::metadata(&path);
                let modified = about.and_then(|it| it.modified()).ok();
                // a date in the future would say so for ever
                let is_newer = modified.is_some_and(|it| it > since && it <= SystemTime::now());
                let known = if is_newer { None } else { state(&path) };
                self.files.insert(path, known);
            }
        }
        self.due.get_or_insert(now + pause);
    }

    /// When [`Touches::changed`] has to be asked.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// A file that has been touched, made or removed since the last time.
    pub(super) fn changed(&mut self, now: Instant) -> Option<PathBuf> {
        if self.due.is_none_or(|due| now < due) {
            return None;
        }
        self.due = Some(now + self.pause.unwrap_or(PAUSE));
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

fn state(path: &Path) -> State {
    let file = fs::metadata(path).ok()?;
    Some((file.ino(), file.mtime(), file.mtime_nsec()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_made_touched_or_removed_is_told_once_each() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("touched");
        let mut now = Instant::now();
        let mut touches = Touches::default();
        touches.watch([path.to_str().unwrap().to_owned()].iter(), now);
        let mut look = || {
            now = touches.deadline().unwrap();
            touches.changed(now).is_some()
        };
        assert!(!look());
        fs::write(&path, "").unwrap();
        assert!(look() && !look());
        let then = std::time::SystemTime::now() + Duration::from_millis(3);
        fs::File::open(&path).unwrap().set_modified(then).unwrap();
        assert!(look() && !look());
        fs::remove_file(&path).unwrap();
        assert!(look() && !look());
    }

    #[test]
    fn a_file_that_has_changed_since_it_was_read_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.py");
        fs::write(&path, "").unwrap();
        let path = || [path.to_str().unwrap().to_owned()].into_iter();
        let now = Instant::now();
        let pause = Duration::from_secs(1);
        let mut touches = Touches::default();
        touches.add(path(), SystemTime::now(), pause, now);
        assert_eq!(touches.changed(now + pause), None);
        let mut touches = Touches::default();
        touches.add(path(), SystemTime::UNIX_EPOCH, pause, now);
        assert!(touches.changed(now + pause).is_some());
    }

    #[test]
    fn nothing_watched_needs_no_look() {
        let mut touches = Touches::default();
        touches.watch([].iter(), Instant::now());
        assert_eq!(touches.deadline(), None);
    }
}
