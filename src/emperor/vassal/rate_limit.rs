//! Rate limits for the work that a vassal causes in the emperor.

use std::time::{Duration, Instant};

/// A maximum number of events in an interval.
#[derive(Clone, Copy, Debug)]
pub(in crate::emperor) struct Rate {
    max: u32,
    interval: Duration,
}

/// Maximum rate of one vassal's messages. Further messages stay in the channel, and a full channel blocks the sender.
pub(in crate::emperor) const MESSAGES: Rate = Rate {
    max: 100,
    interval: Duration::from_secs(1),
};

/// Maximum rate of one vassal's starts on demand. Clients that connect later wait for the end of the interval.
pub(in crate::emperor) const DEMAND_STARTS: Rate = Rate {
    max: 5,
    interval: Duration::from_secs(5),
};

/// Counts the events of the current interval, to compare them with a [`Rate`].
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::emperor) struct RateLimiter {
    since: Option<Instant>,
    count: u32,
}

impl RateLimiter {
    /// Counts an event. The first event after the end of an interval begins the next interval.
    pub(in crate::emperor) fn record(&mut self, rate: Rate, now: Instant) {
        let is_over = |since: Instant| now.saturating_duration_since(since) >= rate.interval;
        if self.since.is_none_or(is_over) {
            self.since = Some(now);
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
    }

    /// The time at which the next event is allowed; `None` means now.
    pub(in crate::emperor) fn blocked_until(&self, rate: Rate, now: Instant) -> Option<Instant> {
        let end = self.since? + rate.interval;
        (self.count >= rate.max && end > now).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_events_than_the_maximum_wait_for_the_next_interval() {
        let (mut limiter, now) = (RateLimiter::default(), Instant::now());
        for _ in 1..DEMAND_STARTS.max {
            limiter.record(DEMAND_STARTS, now);
            assert_eq!(limiter.blocked_until(DEMAND_STARTS, now), None);
        }
        limiter.record(DEMAND_STARTS, now + Duration::from_secs(1));
        let end = now + DEMAND_STARTS.interval;
        assert_eq!(limiter.blocked_until(DEMAND_STARTS, now), Some(end));
        assert_eq!(limiter.blocked_until(DEMAND_STARTS, end), None);
        limiter.record(DEMAND_STARTS, end);
        assert_eq!(limiter.blocked_until(DEMAND_STARTS, end), None);
    }
}
