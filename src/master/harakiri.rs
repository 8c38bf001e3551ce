//! Whether a request has exceeded `harakiri`: pure functions over a thread's row of the scoreboard.
//!
//! ```text
//!           limit            grace
//!  InTime ────────▶ Expired ────────▶ Stuck           the request ends: back to InTime
//! ```
//! Times are microseconds of the monotonic clock. A request is identified by the time at which it began.

/// The timeouts of requests, microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// Time from the start of a request until the request expires.
    pub(super) limit: u64,
    /// Time from the expiry of a request until its thread must have returned.
    pub(super) grace: u64,
}

/// The state of a thread's current request in relation to `harakiri`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestDeadline {
    /// The thread has no request, or its request has not reached its deadline.
    InTime,
    /// The request that began at `since` expired at `at`, and its thread was interrupted.
    Expired { since: u64, at: u64 },
    /// The thread did not return within the grace time.
    Stuck { since: u64 },
}

/// The action that follows from a check of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeadlineAction {
    Nothing,
    /// End the request and interrupt its thread.
    Expire,
    /// Replace the worker.
    ReplaceWorker,
}

/// Checks a thread that has been busy since `busy_since` (0: the thread is idle) against the timeouts. Returns the new
/// state and the action.
pub(super) fn step(
    state: RequestDeadline,
    busy_since: u64,
    Timeouts { limit, grace }: Timeouts,
    now: u64,
) -> (RequestDeadline, DeadlineAction) {
    if busy_since == 0 {
        return (RequestDeadline::InTime, DeadlineAction::Nothing);
    }
    match state {
        RequestDeadline::Expired { since, at } if since == busy_since => {
            if now < at.saturating_add(grace) {
                return (state, DeadlineAction::Nothing);
            }
            (
                RequestDeadline::Stuck { since },
                DeadlineAction::ReplaceWorker,
            )
        }
        RequestDeadline::Stuck { since } if since == busy_since => (state, DeadlineAction::Nothing),
        _ if now >= busy_since.saturating_add(limit) => {
            let expired = RequestDeadline::Expired {
                since: busy_since,
                at: now,
            };
            (expired, DeadlineAction::Expire)
        }
        _ => (RequestDeadline::InTime, DeadlineAction::Nothing),
    }
}

/// The time at which the thread must be checked again. A request that begins after `now` is due after `now + limit` at
/// the earliest, so this check is early enough for it.
pub(super) fn due(
    state: RequestDeadline,
    busy_since: u64,
    Timeouts { limit, grace }: Timeouts,
    now: u64,
) -> u64 {
    match state {
        RequestDeadline::Expired { at, .. } => at.saturating_add(grace),
        RequestDeadline::InTime if busy_since != 0 => busy_since.saturating_add(limit),
        _ => now.saturating_add(limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 3_000_000;
    const GRACE: u64 = 2_000_000;
    const TIMEOUTS: Timeouts = Timeouts {
        limit: LIMIT,
        grace: GRACE,
    };

    #[test]
    fn a_request_expires_at_its_deadline_and_its_worker_is_replaced_after_the_grace() {
        let (state, action) = step(RequestDeadline::InTime, 100, TIMEOUTS, LIMIT);
        assert_eq!(
            (state, action),
            (RequestDeadline::InTime, DeadlineAction::Nothing)
        );
        let now = LIMIT + 100;
        let (state, action) = step(state, 100, TIMEOUTS, now);
        assert_eq!(action, DeadlineAction::Expire);
        let (state, action) = step(state, 100, TIMEOUTS, now + GRACE - 1);
        assert_eq!(action, DeadlineAction::Nothing);
        let (state, action) = step(state, 100, TIMEOUTS, now + GRACE);
        assert_eq!(action, DeadlineAction::ReplaceWorker);
        let (_, action) = step(state, 100, TIMEOUTS, now + 9 * GRACE);
        assert_eq!(action, DeadlineAction::Nothing);
    }

    #[test]
    fn a_thread_that_returns_is_checked_by_its_next_request() {
        let expired = RequestDeadline::Expired {
            since: 100,
            at: LIMIT + 100,
        };
        assert_eq!(
            step(expired, 0, TIMEOUTS, LIMIT + 200),
            (RequestDeadline::InTime, DeadlineAction::Nothing)
        );
        let next = LIMIT + 300;
        assert_eq!(
            step(expired, next, TIMEOUTS, next + GRACE),
            (RequestDeadline::InTime, DeadlineAction::Nothing)
        );
    }

    #[test]
    fn the_next_check_is_never_too_late() {
        assert_eq!(due(RequestDeadline::InTime, 0, TIMEOUTS, 500), LIMIT + 500);
        assert_eq!(
            due(RequestDeadline::InTime, 100, TIMEOUTS, 500),
            LIMIT + 100
        );
        let expired = RequestDeadline::Expired {
            since: 100,
            at: 700,
        };
        assert_eq!(due(expired, 100, TIMEOUTS, 800), 700 + GRACE);
    }
}
