//! When a file that is being changed is finished: an editor's several steps become one look at the result.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::sys::inotify::Kind;

/// So long nothing must have happened to a file.
const QUIET: Duration = Duration::from_millis(50);

/// So long a name may be missing: some editors delete the file that they then write.
const ABSENCE: Duration = Duration::from_millis(200);

/// A file that changes all the time is looked at after so long anyway.
const LONGEST: Duration = Duration::from_secs(1);

/// The files that are not looked at yet.
#[derive(Debug, Default)]
pub(super) struct Settle {
    waiting: HashMap<PathBuf, Wait>,
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    first: Instant,
    due: Instant,
}

impl Settle {
    /// Something happened to the file.
    pub(super) fn touched(&mut self, path: &Path, kind: Kind, now: Instant) {
        let wait = match kind {
            // it is closed some day; if not, this is as long as it is waited for
            Kind::Begun => LONGEST,
            Kind::Gone => ABSENCE,
            _ => QUIET,
        };
        self.wait(path, wait, now);
    }

    /// The file is missing, and is to be looked for once more.
    pub(super) fn missing(&mut self, path: &Path, now: Instant) {
        self.wait(path, ABSENCE, now);
    }

    fn wait(&mut self, path: &Path, wait: Duration, now: Instant) {
        let known = self.waiting.get(path).map(|wait| wait.first);
        let first = known.unwrap_or(now);
        let due = (now + wait).min(first + LONGEST);
        self.waiting.insert(path.to_owned(), Wait { first, due });
    }

    /// The files that are to be looked at now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<PathBuf> {
        let due: Vec<PathBuf> = self
            .waiting
            .iter()
            .filter(|(_, wait)| wait.due <= now)
            .map(|(path, _)| path.clone())
            .collect();
        for path in &due {
            self.waiting.remove(path);
        }
        due
    }

    /// When the next one is.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.values().map(|wait| wait.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The moments, in milliseconds, at which a file is looked at after these events.
    fn looks(events: &[(u64, Kind)]) -> Vec<u64> {
        let begin = Instant::now();
        let mut settle = Settle::default();
        let mut looks = Vec::new();
        for now in 0..5_000 {
            let at = begin + Duration::from_millis(now);
            for (_, kind) in events.iter().filter(|(then, _)| *then == now) {
                settle.touched(Path::new("a.ini"), *kind, at);
            }
            looks.extend(settle.due(at).iter().map(|_| now));
        }
        looks
    }

    #[test]
    fn a_file_that_was_renamed_into_place_is_looked_at_once() {
        assert_eq!(looks(&[(0, Kind::Whole)]), [50]);
    }

    #[test]
    fn a_file_that_is_written_slowly_is_looked_at_when_it_is_closed() {
        let steps = [(0, Kind::Begun), (300, Kind::Begun), (600, Kind::Whole)];
        assert_eq!(looks(&steps), [650]);
    }

    #[test]
    fn deleting_and_creating_anew_is_one_change() {
        let steps = [(0, Kind::Gone), (100, Kind::Begun), (110, Kind::Whole)];
        assert_eq!(looks(&steps), [160]);
    }

    #[test]
    fn a_file_that_never_rests_is_looked_at_all_the_same() {
        let steps: Vec<(u64, Kind)> = (0..2_000).step_by(10).map(|at| (at, Kind::Whole)).collect();
        assert_eq!(looks(&steps).first(), Some(&1_000));
    }
}
