//! The beats of a vassal's master (`heartbeat`), and when their absence means that it is frozen: a pure judgement.

use std::time::{Duration, Instant};

/// A vassal may miss one of its own beats.
const MISSES: u32 = 2;

/// What is known of the beats of one process.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::emperor) struct Pulse {
    /// The last beat, and how long the silence after it may be; `None`: no beat is waited for.
    last: Option<(Instant, Duration)>,
}

impl Pulse {
    /// A beat, of a master that sends one every `every`, under `emperor-required-heartbeat = required`. One that beats
    /// less often than that is not killed for it.
    pub(in crate::emperor) fn beat(&mut self, every: Duration, required: Duration, now: Instant) {
        let patience = required.max(every.saturating_mul(MISSES));
        self.last = Some((now, patience)).filter(|_| !required.is_zero());
    }

    /// No beat is waited for before there is another first one.
    pub(in crate::emperor) fn forget(&mut self) {
        self.last = None;
    }

    /// When the silence has lasted too long.
    pub(in crate::emperor) fn deadline(&self) -> Option<Instant> {
        self.last
            .and_then(|(at, patience)| at.checked_add(patience))
    }

    /// How long the silence has lasted, if that is too long.
    pub(in crate::emperor) fn lost(&self, now: Instant) -> Option<Duration> {
        let (at, patience) = self.last?;
        let silence = now.saturating_duration_since(at);
        (silence >= patience).then_some(silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUIRED: Duration = Duration::from_secs(30);

    fn after_a_beat_every(seconds: u64) -> (Pulse, Instant) {
        let (mut pulse, now) = (Pulse::default(), Instant::now());
        pulse.beat(Duration::from_secs(seconds), REQUIRED, now);
        (pulse, now)
    }

    #[test]
    fn without_a_first_beat_none_is_missed() {
        let (pulse, now) = (Pulse::default(), Instant::now());
        assert_eq!(pulse.deadline(), None);
        assert_eq!(pulse.lost(now + REQUIRED * 100), None);
    }

    #[test]
    fn silence_is_measured_from_the_last_beat() {
        let (mut pulse, begin) = after_a_beat_every(10);
        assert_eq!(pulse.deadline(), Some(begin + REQUIRED));
        assert_eq!(pulse.lost(begin + Duration::from_secs(29)), None);
        assert_eq!(pulse.lost(begin + REQUIRED), Some(REQUIRED));
        pulse.beat(Duration::from_secs(10), REQUIRED, begin + REQUIRED);
        assert_eq!(pulse.lost(begin + REQUIRED), None);
        pulse.forget();
        assert_eq!(pulse.lost(begin + REQUIRED * 3), None);
    }

    #[test]
    fn rare_beats_are_waited_for() {
        let (pulse, begin) = after_a_beat_every(60);
        assert_eq!(pulse.lost(begin + Duration::from_secs(119)), None);
        assert!(pulse.lost(begin + Duration::from_secs(120)).is_some());
    }

    #[test]
    fn nothing_is_required_of_zero_seconds() {
        let (mut pulse, now) = (Pulse::default(), Instant::now());
        pulse.beat(Duration::from_secs(1), Duration::ZERO, now);
        assert_eq!(pulse.lost(now + REQUIRED * 100), None);
    }
}
