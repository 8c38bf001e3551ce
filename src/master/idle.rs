//! How long nobody has asked for anything (`idle`): a pure judgement over looks at the scoreboard.

use std::time::{Duration, Instant};

/// A look is taken so many times within the limit: this is how exact the limit is.
const LOOKS: u32 = 8;
/// The times between two looks.
const SOONEST: Duration = Duration::from_millis(100);
const LATEST: Duration = Duration::from_secs(5);

/// What is known of the last request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Idle {
    limit: Duration,
    /// Requests until then.
    requests: u64,
    /// When there was one at the latest.
    last: Instant,
    next: Instant,
}

impl Idle {
    /// Begins now, as if there had just been a request.
    pub(super) fn new(limit: Duration, now: Instant) -> Self {
        Self {
            limit,
            requests: 0,
            last: now,
            next: now,
        }
    }

    /// When [`Idle::look`] has to be asked.
    pub(super) fn deadline(&self) -> Instant {
        self.next
    }

    /// Looks, if it is time: so many requests until now, and `busy` if one is under way. Whether nobody has asked for
    /// anything for so long.
    pub(super) fn look(&mut self, requests: u64, busy: bool, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        if busy || requests != self.requests {
            self.last = now;
        }
        self.requests = requests;
        let due = self.last + self.limit;
        let pause = (self.limit / LOOKS).clamp(SOONEST, LATEST);
        self.next = if due > now {
            due.min(now + pause)
        } else {
            now + pause
        };
        due <= now
    }

    /// Somebody asks for something.
    pub(super) fn awaken(&mut self, now: Instant) {
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

    /// Looks whenever it is due until `until` seconds; when it was idle first.
    fn idle_after(
        until: u64,
        request_at: impl Fn(f64) -> u64,
        busy: impl Fn(f64) -> bool,
    ) -> Option<f64> {
        let begin = Instant::now();
        let mut idle = Idle::new(LIMIT, begin);
        loop {
            let now = idle.deadline();
            let at = now.duration_since(begin).as_secs_f64();
            if at > until as f64 {
                return None;
            }
            if idle.look(request_at(at), busy(at), now) {
                return Some(at);
            }
        }
    }

    #[test]
    fn without_a_request_it_is_idle_when_the_limit_has_passed() {
        assert_eq!(idle_after(20, |_| 0, |_| false), Some(8.0));
    }

    #[test]
    fn a_request_begins_the_time_anew() {
        let one_at_five = |at: f64| u64::from(at >= 4.5);
        assert_eq!(idle_after(20, one_at_five, |_| false), Some(13.0));
        assert_eq!(idle_after(60, |at| at as u64, |_| false), None);
    }

    #[test]
    fn a_request_under_way_is_no_idleness() {
        assert_eq!(idle_after(60, |_| 1, |at| at < 30.5), Some(38.0));
    }

    #[test]
    fn looks_are_neither_rare_nor_frequent() {
        let now = Instant::now();
        for (limit, pause) in [(1, 125), (10, 1250), (3600, 5000)] {
            let mut idle = Idle::new(Duration::from_secs(limit), now);
            idle.look(0, false, now);
            assert_eq!((idle.deadline() - now).as_millis(), pause);
        }
    }
}
