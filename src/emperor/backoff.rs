//! The backoff of the emperor: the delay before it starts a failed vassal again.

use std::time::{Duration, Instant};

/// A vassal that was ready for this time is stable: its next exit does not count as a failure.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// The limits of the backoff.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    /// The delay after the first failure (`emperor-throttle`).
    pub(super) first: Duration,
    /// The maximum delay (`emperor-max-throttle`).
    pub(super) longest: Duration,
}

impl Backoff {
    /// The delay after this number of consecutive failures. The delay doubles with each failure.
    pub(super) fn delay(&self, failures: u32) -> Duration {
        match failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => self
                .first
                .saturating_mul(1 << doublings.min(20))
                .min(self.longest),
        }
    }
}

/// The number of consecutive failures after an exit. The vassal became ready at `ready`, and had failed `before` times.
pub(super) fn failures_after_exit(before: u32, ready: Instant, now: Instant) -> u32 {
    let was_stable = now.saturating_duration_since(ready) >= STABLE_AFTER;
    match was_stable {
        true => 0,
        false => before.saturating_add(1),
    }
}
