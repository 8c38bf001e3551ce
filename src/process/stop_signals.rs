//! Counts stop signals. A second signal means an immediate stop, unless it follows the first signal within
//! [`SAME_REQUEST`].

use std::time::{Duration, Instant};

/// Signals within this time after the first signal belong to the same request. timeout(1) signals its child and then
/// the process group. A terminal signals the whole group too.
const SAME_REQUEST: Duration = Duration::from_millis(200);

/// The stop signals that have arrived.
#[derive(Debug, Default)]
pub(crate) struct StopSignals {
    first: Option<Instant>,
}

impl StopSignals {
    /// Records a signal that has arrived at `now`. Returns whether an earlier signal was part of the same request;
    /// false for the first signal.
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
