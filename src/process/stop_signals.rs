//! Counting stop signals: a second signal is a request to stop at once, unless it follows the first signal immediately.

use std::time::{Duration, Instant};

/// Signals within this time after the first one count as one request. A single request can send several signals:
/// timeout(1) signals its child and then the process group, and a terminal signals the group too.
const SAME_REQUEST: Duration = Duration::from_millis(200);

/// The stop signals that have arrived.
#[derive(Debug, Default)]
pub(crate) struct StopSignals {
    first: Option<Instant>,
}

impl StopSignals {
    /// Records a signal that has arrived at `now`. Returns whether it belongs to the same request as an earlier first
    /// signal; false for the first signal itself.
    pub(crate) fn is_same_request(&mut self, now: Instant) -> bool {
        match self.first {
            Some(first) => now.saturating_duration_since(first) < SAME_REQUEST,
            None => {
                self.first = Some(now);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_soon_after_the_first_is_the_same_request() {
        let mut signals = StopSignals::default();
        let start = Instant::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        assert!(!signals.is_same_request(start));
        assert!(signals.is_same_request(after(0)));
        assert!(signals.is_same_request(after(199)));
        assert!(!signals.is_same_request(after(200)));
    }
}
