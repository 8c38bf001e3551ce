//! Waiting for conditions.

use std::time::{Duration, Instant};

/// Limit of every wait. It is far longer than any condition needs, and shorter than the server's own timeout of 60 s,
/// so that a test notices when the server waits for that timeout.
pub const DEADLINE: Duration = Duration::from_secs(40);

/// Limit for what happens without delay; it allows for a machine that stalls for seconds.
pub const PROMPTLY: Duration = Duration::from_secs(15);

/// Limits of the interval between two checks of a condition.
const SHORTEST: Duration = Duration::from_millis(3);
const LONGEST: Duration = Duration::from_millis(20);

/// Whether `condition` becomes true within `limit`.
pub fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    let end = begin + limit;
    loop {
        // measured before the condition: this process may have been stalled
        let late = Instant::now() > end;
        if condition() {
            return true;
        }
        if late {
            return false;
        }
        // a long wait costs the other tests little of the processor
        std::thread::sleep((begin.elapsed() / 16).clamp(SHORTEST, LONGEST));
    }
}

/// Waits until `condition` is true; fails with `what` after the deadline.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(
        within(DEADLINE, condition),
        "condition not met in time: {what}"
    );
}
