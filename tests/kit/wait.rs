//! Waiting for conditions.

use std::time::{Duration, Instant};

/// How long anything may take before a test fails; far more than it needs, and less than the server's own
/// patience of 60 s, so that what should not wait for that is noticed.
pub const DEADLINE: Duration = Duration::from_secs(40);

/// How long what happens at once may take on a machine that does much else and stands still for seconds.
pub const AT_ONCE: Duration = Duration::from_secs(15);

/// Whether `condition` comes true within `limit`.
pub fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        // looked at first: this process may be what stood still
        let late = Instant::now() > end;
        if condition() {
            return true;
        }
        if late {
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
