//! Files whose change asks for a reload (`touch-reload`).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often they are looked at.
const PAUSE: Duration = Duration::from_millis(500);

/// What tells one state of a file from another: its inode, and the time of its last change with nanoseconds.
type State = Option<(u64, i64, i64)>;

/// The files that are watched.
#[derive(Debug, Default)]
pub(super) struct Touches {
    files: Vec<(PathBuf, State)>,
    due: Option<Instant>,
}

impl Touches {
    /// Watches these files from now on. Those that were watched before keep what is known of them.
    pub(super) fn watch<'a>(&mut self, paths: impl Iterator<Item = &'a String>, now: Instant) {
        let mut files = Vec::new();
        for path in paths {
            let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
            let known = self.files.iter().find(|(other, _)| *other == path);
            let state = known.map_or_else(|| state(&path), |(_, state)| *state);
            files.push((path, state));
        }
        self.due = (!files.is_empty()).then_some(now + PAUSE);
        self.files = files;
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
        self.due = Some(now + PAUSE);
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
    fn nothing_watched_needs_no_look() {
        let mut touches = Touches::default();
        touches.watch([].iter(), Instant::now());
        assert_eq!(touches.deadline(), None);
    }
}
