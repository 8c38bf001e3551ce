//! Limits how often a log line is written.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::sys::clock::monotonic_micros;

/// Time between two log lines of the same kind, microseconds.
const INTERVAL: u64 = 10_000_000;

/// The interval of one kind of log lines, which several threads write.
pub struct Interval {
    /// Time of the next line, microseconds.
    next: AtomicU64,
    /// Number of lines that were left out since the last written line.
    left_out: AtomicU64,
}

impl Interval {
    /// An interval whose first line is due at once.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            next: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    /// If a line is due, returns the number of lines that were left out since the last written line. If the result is
    /// `None`, the caller must not write its line. The first line is due at once, later lines once in ten seconds.
    pub fn due(&self) -> Option<u64> {
        self.due_at(monotonic_micros())
    }

    fn due_at(&self, now: u64) -> Option<u64> {
        if now < self.next.load(Relaxed) {
            self.left_out.fetch_add(1, Relaxed);
            return None;
        }
        self.next.store(now + INTERVAL, Relaxed);
        Some(self.left_out.swap(0, Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_due_per_interval() {
        let interval = Interval::new();
        assert_eq!(interval.due_at(7), Some(0));
        assert_eq!(interval.due_at(8), None);
        assert_eq!(interval.due_at(9), None);
        assert_eq!(interval.due_at(7 + INTERVAL), Some(2));
        assert_eq!(interval.due_at(8 + INTERVAL), None);
    }
}
