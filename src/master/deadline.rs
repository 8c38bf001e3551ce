//! When a request has run for too long (`harakiri`): pure verdicts over what a thread's row of the scoreboard says.
//!
//! ```text
//!           limit            grace
//!  InTime ────────▶ Expired ────────▶ Hopeless        the request ends: back to InTime
//! ```
//! Times are microseconds of the monotonic clock. A request is known by the moment it began.

/// How long a thread has to come back after its request has expired, microseconds.
pub(super) const GRACE: u64 = 2_000_000;

/// What is known of a thread's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    /// There is none, or it may go on.
    InTime,
    /// The request that began at `since` was given up at `at`: its thread was asked to come back.
    Expired { since: u64, at: u64 },
    /// The thread did not come back.
    Hopeless { since: u64 },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Nothing,
    /// Give the request up.
    Expire,
    /// Replace the worker.
    Condemn,
}

/// Judges a thread that is busy since `busy_since` (0: not busy) under a limit.
pub(super) fn judge(watch: Watch, busy_since: u64, limit: u64, now: u64) -> (Watch, Verdict) {
    if busy_since == 0 {
        return (Watch::InTime, Verdict::Nothing);
    }
    match watch {
        Watch::Expired { since, at } if since == busy_since => {
            if now < at.saturating_add(GRACE) {
                return (watch, Verdict::Nothing);
            }
            (Watch::Hopeless { since }, Verdict::Condemn)
        }
        Watch::Hopeless { since } if since == busy_since => (watch, Verdict::Nothing),
        _ if now >= busy_since.saturating_add(limit) => {
            let expired = Watch::Expired {
                since: busy_since,
                at: now,
            };
            (expired, Verdict::Expire)
        }
        _ => (Watch::InTime, Verdict::Nothing),
    }
}

/// When the thread has to be judged again, if nothing changes before. A request that begins later than `now` is not
/// due earlier than this.
pub(super) fn due(watch: Watch, busy_since: u64, limit: u64, now: u64) -> u64 {
    match watch {
        Watch::Expired { at, .. } => at.saturating_add(GRACE),
        Watch::InTime if busy_since != 0 => busy_since.saturating_add(limit),
        _ => now.saturating_add(limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 3_000_000;

    #[test]
    fn a_request_is_given_up_at_its_deadline_and_its_worker_after_the_grace() {
        let (watch, verdict) = judge(Watch::InTime, 100, LIMIT, LIMIT);
        assert_eq!((watch, verdict), (Watch::InTime, Verdict::Nothing));
        let now = LIMIT + 100;
        let (watch, verdict) = judge(watch, 100, LIMIT, now);
        assert_eq!(verdict, Verdict::Expire);
        let (watch, verdict) = judge(watch, 100, LIMIT, now + GRACE - 1);
        assert_eq!(verdict, Verdict::Nothing);
        let (watch, verdict) = judge(watch, 100, LIMIT, now + GRACE);
        assert_eq!(verdict, Verdict::Condemn);
        let (_, verdict) = judge(watch, 100, LIMIT, now + 9 * GRACE);
        assert_eq!(verdict, Verdict::Nothing);
    }

    #[test]
    fn a_thread_that_comes_back_is_judged_by_its_next_request() {
        let expired = Watch::Expired {
            since: 100,
            at: LIMIT + 100,
        };
        assert_eq!(
            judge(expired, 0, LIMIT, LIMIT + 200),
            (Watch::InTime, Verdict::Nothing)
        );
        let next = LIMIT + 300;
        assert_eq!(
            judge(expired, next, LIMIT, next + GRACE),
            (Watch::InTime, Verdict::Nothing)
        );
    }

    #[test]
    fn the_next_look_is_never_too_late() {
        assert_eq!(due(Watch::InTime, 0, LIMIT, 500), LIMIT + 500);
        assert_eq!(due(Watch::InTime, 100, LIMIT, 500), LIMIT + 100);
        let expired = Watch::Expired {
            since: 100,
            at: 700,
        };
        assert_eq!(due(expired, 100, LIMIT, 800), 700 + GRACE);
    }
}
