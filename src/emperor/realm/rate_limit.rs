//! How often a vassal may do what costs the emperor: pure bookkeeping.

use std::time::{Duration, Instant};

/// So many times in so long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    most: u32,
    within: Duration,
}

/// What one says; more waits in its channel, and then it waits itself.
pub(super) const WORDS: Rate = Rate {
    most: 100,
    within: Duration::from_secs(1),
};

/// Starts of one on demand; later clients wait a little.
pub(super) const WAKES: Rate = Rate {
    most: 5,
    within: Duration::from_secs(5),
};

/// What has happened lately.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    since: Option<Instant>,
    count: u32,
}

impl Pace {
    /// It happens.
    pub(super) fn note(&mut self, rate: Rate, now: Instant) {
        let is_over = |since: Instant| now.saturating_duration_since(since) >= rate.within;
        if self.since.is_none_or(is_over) {
            self.since = Some(now);
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
    }

    /// When it may happen again, if not now.
    pub(super) fn pause(&self, rate: Rate, now: Instant) -> Option<Instant> {
        let end = self.since? + rate.within;
        (self.count >= rate.most && end > now).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_often_waits_until_the_time_is_over() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for _ in 1..WAKES.most {
            pace.note(WAKES, now);
            assert_eq!(pace.pause(WAKES, now), None);
        }
        pace.note(WAKES, now + Duration::from_secs(1));
        let end = now + WAKES.within;
        assert_eq!(pace.pause(WAKES, now), Some(end));
        assert_eq!(pace.pause(WAKES, end), None);
        pace.note(WAKES, end);
        assert_eq!(pace.pause(WAKES, end), None);
    }
}
