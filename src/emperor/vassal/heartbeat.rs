//! The heartbeats of a vassal's master (`heartbeat`), and the timeout after which a silent master counts as hung.

use std::time::{Duration, Instant};

/// The default timeout, in heartbeat intervals. The value 2 allows for one missed heartbeat.
const INTERVALS: u32 = 2;

/// The heartbeats of one process.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::emperor) struct Heartbeat {
    /// The time of the last heartbeat, and the timeout that began then; `None` if no heartbeat is expected.
    last: Option<(Instant, Duration)>,
}

impl Heartbeat {
    /// Records a heartbeat of a master that sends one heartbeat per `interval`. The timeout is `required` (the value of
    /// `emperor-required-heartbeat`), or twice the interval if that is longer. If `required` is zero, there is no
    /// timeout.
    pub(in crate::emperor) fn record(
        &mut self,
        interval: Duration,
        required: Duration,
        now: Instant,
    ) {
        let timeout = required.max(interval.saturating_mul(INTERVALS));
        self.last = Some((now, timeout)).filter(|_| !required.is_zero());
    }

    /// Disables the timeout until the next heartbeat arrives.
    pub(in crate::emperor) fn reset(&mut self) {
        self.last = None;
    }

    /// The time at which the timeout expires.
    pub(in crate::emperor) fn deadline(&self) -> Option<Instant> {
        self.last.and_then(|(at, timeout)| at.checked_add(timeout))
    }

    /// The time since the last heartbeat; `None` if the timeout has not expired.
    pub(in crate::emperor) fn overdue(&self, now: Instant) -> Option<Duration> {
        let (at, timeout) = self.last?;
        let silence = now.saturating_duration_since(at);
        (silence >= timeout).then_some(silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUIRED: Duration = Duration::from_secs(30);

    fn after_a_heartbeat_every(seconds: u64) -> (Heartbeat, Instant) {
        let (mut heartbeat, now) = (Heartbeat::default(), Instant::now());
        heartbeat.record(Duration::from_secs(seconds), REQUIRED, now);
        (heartbeat, now)
    }

    #[test]
    fn without_a_first_heartbeat_none_is_overdue() {
        let (heartbeat, now) = (Heartbeat::default(), Instant::now());
        assert_eq!(heartbeat.deadline(), None);
        assert_eq!(heartbeat.overdue(now + REQUIRED * 100), None);
    }

    #[test]
    fn the_timeout_begins_with_the_last_heartbeat() {
        let (mut heartbeat, begin) = after_a_heartbeat_every(10);
        assert_eq!(heartbeat.deadline(), Some(begin + REQUIRED));
        assert_eq!(heartbeat.overdue(begin + Duration::from_secs(29)), None);
        assert_eq!(heartbeat.overdue(begin + REQUIRED), Some(REQUIRED));
        heartbeat.record(Duration::from_secs(10), REQUIRED, begin + REQUIRED);
        assert_eq!(heartbeat.overdue(begin + REQUIRED), None);
        heartbeat.reset();
        assert_eq!(heartbeat.overdue(begin + REQUIRED * 3), None);
    }

    #[test]
    fn a_longer_interval_extends_the_timeout() {
        let (heartbeat, begin) = after_a_heartbeat_every(60);
        assert_eq!(heartbeat.overdue(begin + Duration::from_secs(119)), None);
        assert!(
            heartbeat
                .overdue(begin + Duration::from_secs(120))
                .is_some()
        );
    }

    #[test]
    fn zero_seconds_disable_the_timeout() {
        let (mut heartbeat, now) = (Heartbeat::default(), Instant::now());
        heartbeat.record(Duration::from_secs(1), Duration::ZERO, now);
        assert_eq!(heartbeat.overdue(now + REQUIRED * 100), None);
    }
}
