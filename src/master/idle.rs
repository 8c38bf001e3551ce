//! The `idle` timer. It samples the request counter to determine whether no request has come for a given time.

use std::time::{Duration, Instant};

/// Number of checks within the idle limit. A higher number makes the timer more precise.
const CHECKS: u32 = 8;
/// Minimum time between two checks.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// The timer, and the request counter at its last check.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdleTimer {
    limit: Duration,
    /// The request counter at the last check.
    requests: u64,
    /// Time of the last check that found a new request or a request in progress.
    last: Instant,
    next: Instant,
}

impl IdleTimer {
    /// Starts the timer.
    pub(super) fn new(limit: Duration, now: Instant) -> Self {
        Self {
            limit,
            requests: 0,
            last: now,
            next: now,
        }
    }

    /// The time of the next check.
    pub(super) fn deadline(&self) -> Instant {
        self.next
    }

    /// Compares the request counter with its last value, if a check is due. `busy`: whether a request is in progress.
    /// Returns whether the limit has passed without a request.
    pub(super) fn check(&mut self, requests: u64, busy: bool, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        if busy || requests != self.requests {
            self.last = now;
        }
        self.requests = requests;
        let due = self.last + self.limit;
        let pause = (self.limit / CHECKS).clamp(SHORTEST, LONGEST);
        self.next = if due > now {
            due.min(now + pause)
        } else {
            now + pause
        };
        due <= now
    }

    /// Restarts the timer as if a request had come at `now`.
    pub(super) fn restart(&mut self, now: Instant) {
        self.last = now;
    }

    /// The limit, seconds.
    pub(super) fn seconds(&self) -> u64 {
        self.limit.as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(8);

    /// Performs all checks of the first `until` seconds. Returns the number of seconds after which a check found that
    /// the limit had passed.
    fn idle_after(
        until: u64,
        request_at: impl Fn(f64) -> u64,
        busy: impl Fn(f64) -> bool,
    ) -> Option<f64> {
        let begin = Instant::now();
        let mut idle = IdleTimer::new(LIMIT, begin);
        loop {
            let now = idle.deadline();
            let at = now.duration_since(begin).as_secs_f64();
            if at > until as f64 {
                return None;
            }
            if idle.check(request_at(at), busy(at), now) {
                return Some(at);
            }
        }
    }

    #[test]
    fn without_a_request_it_is_idle_when_the_limit_has_passed() {
        assert_eq!(idle_after(20, |_| 0, |_| false), Some(8.0));
    }

    #[test]
    fn a_request_restarts_the_timer() {
        let one_at_five = |at: f64| u64::from(at >= 4.5);
        assert_eq!(idle_after(20, one_at_five, |_| false), Some(13.0));
        assert_eq!(idle_after(60, |at| at as u64, |_| false), None);
    }

    #[test]
    fn an_instance_with_a_request_in_progress_is_not_idle() {
        assert_eq!(idle_after(60, |_| 1, |at| at < 30.5), Some(38.0));
    }

    #[test]
    fn checks_are_neither_rare_nor_frequent() {
        let now = Instant::now();
        for (limit, pause) in [(1, 125), (10, 1250), (3600, 5000)] {
            let mut idle = IdleTimer::new(Duration::from_secs(limit), now);
            idle.check(0, false, now);
            assert_eq!((idle.deadline() - now).as_millis(), pause);
        }
    }
}
