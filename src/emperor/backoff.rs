//! The back-off of the emperor: how long it waits before it starts a vassal again that has failed.

use std::time::{Duration, Instant};

/// A vassal that was ready for this long is stable: its next exit does not count as a failure.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// The limits of the back-off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    /// The delay after the first failure (`emperor-throttle`).
    pub(super) first: Duration,
    /// The longest delay (`emperor-max-throttle`).
    pub(super) longest: Duration,
}

impl Backoff {
    /// The delay after this number of consecutive failures; it doubles with each.
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

/// Consecutive failures after the exit of a vassal that was ready since `ready`, and had failed `before` times.
pub(super) fn failures_after_exit(before: u32, ready: Instant, now: Instant) -> u32 {
    let was_stable = now.saturating_duration_since(ready) >= STABLE_AFTER;
    match was_stable {
        true => 0,
        false => before.saturating_add(1),
    }
}
