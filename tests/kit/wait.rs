//! Waiting for conditions.

use std::time::{Duration, Instant};

/// How long anything may take before a test fails; far more than it needs.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Whether `condition` comes true within `limit`.
pub fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `condition` is true; fails with `what` after the deadline.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(
        within(DEADLINE, condition),
        "it did not come about that {what}"
    );
}
