//! Joins the changes of a file that follow each other within a short time, so that the steps of an editor count as one
//! change.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::watcher::ChangeKind;

/// The waiting times of a [`Debounce`].
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Time without a further change after a complete change. Then the key is due.
    pub quiet: Duration,
    /// Time that a writer has to close the file. Then the key is due.
    pub writing: Duration,
    /// Time in which a removed file may reappear. Then the key is due. Some editors remove a file before they write it
    /// again.
    pub removed: Duration,
    /// Maximum time from the first change until the key is due, for a file that changes all the time.
    pub longest: Duration,
}

/// The keys (such as paths of files) that have changed and are still waiting.
#[derive(Debug)]
pub struct Debounce<K> {
    timing: Timing,
    pending: HashMap<K, Pending>,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    /// The time of the first change of the series.
    first: Instant,
    due: Instant,
}

impl<K: Clone + Eq + Hash> Debounce<K> {
    /// Creates a debounce without pending keys.
    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            pending: HashMap::new(),
        }
    }

    /// Records a change of `key`. The kind of the last change in a series determines the waiting time.
    pub fn changed(&mut self, key: K, kind: ChangeKind, now: Instant) {
        let wait = match kind {
            ChangeKind::Writing => self.timing.writing,
            ChangeKind::Removed => self.timing.removed,
            ChangeKind::Complete | ChangeKind::WatchEnded | ChangeKind::Overflow => {
                self.timing.quiet
            }
        };
        let first = self.pending.get(&key).map_or(now, |pending| pending.first);
        let due = (now + wait).min(first + self.timing.longest);
        self.pending.insert(key, Pending { first, due });
    }

    /// Removes and returns the keys whose waiting time is over.
    pub fn due(&mut self, now: Instant) -> Vec<K> {
        let due = self
            .pending
            .extract_if(|_, pending| pending.due <= now)
            .map(|(key, _)| key);
        due.collect()
    }

    /// The time at which the next key is due; `None` if no key is pending.
    pub fn deadline(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing {
        quiet: Duration::from_millis(50),
        writing: Duration::from_secs(1),
        removed: Duration::from_millis(200),
        longest: Duration::from_secs(1),
    };

    /// The times, in milliseconds, at which a file is due after these changes.
    fn due_times(changes: &[(u64, ChangeKind)]) -> Vec<u64> {
        let begin = Instant::now();
        let mut debounce = Debounce::new(TIMING);
        let mut times = Vec::new();
        for now in 0..5_000 {
            let at = begin + Duration::from_millis(now);
            for (_, kind) in changes.iter().filter(|(then, _)| *then == now) {
                debounce.changed("a.ini", *kind, at);
            }
            times.extend(debounce.due(at).iter().map(|_| now));
        }
        times
    }

    #[test]
    fn a_file_that_was_renamed_into_place_is_due_once() {
        assert_eq!(due_times(&[(0, ChangeKind::Complete)]), [50]);
    }

    #[test]
    fn a_file_that_is_written_slowly_is_due_when_it_is_closed() {
        let steps = [
            (0, ChangeKind::Writing),
            (300, ChangeKind::Writing),
            (600, ChangeKind::Complete),
        ];
        assert_eq!(due_times(&steps), [650]);
    }

    #[test]
    fn removal_and_creation_are_one_change() {
        let steps = [
            (0, ChangeKind::Removed),
            (100, ChangeKind::Writing),
            (110, ChangeKind::Complete),
        ];
        assert_eq!(due_times(&steps), [160]);
    }

    #[test]
    fn a_file_that_never_rests_is_due_after_the_longest_wait() {
        let steps = (0..2_000).step_by(10);
        let steps: Vec<(u64, ChangeKind)> = steps.map(|at| (at, ChangeKind::Complete)).collect();
        assert_eq!(due_times(&steps).first(), Some(&1_000));
    }
}
