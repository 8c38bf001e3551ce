//! The order in which the workers of a new generation replace the workers of the old generation: a pure function of the
//! number of serving workers and the time.
//!
//! A worker id passes to the new generation when the new worker with the previous id serves. Normally, only one worker
//! is missing at a time. If an old worker takes longer than [`PATIENCE`] to finish its requests, the next id passes
//! earlier. At most half of the workers may be missing.

use std::time::{Duration, Instant};

/// Time after which the next worker is replaced although the new worker with the previous id does not serve yet.
const PATIENCE: Duration = Duration::from_millis(250);

/// The progress of a generation that takes over.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct HandOver {
    /// The new generation has the worker ids 1 to `given`.
    given: u32,
    /// The time at which the new generation got its last worker id; `None` if it has none yet.
    last: Option<Instant>,
}

/// The next step of a hand-over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum HandOverStep {
    /// Wait until a new worker serves, at most until this time. `None` means no limit.
    Wait(Option<Instant>),
    /// The old generation's worker with this id leaves, and the new generation gets the id.
    Replace(u32),
    /// All workers of the new generation serve.
    Finish,
}

impl HandOver {
    /// Determines the next step, and records a replacement as done. `wanted` is the number of workers requested from
    /// the new generation. `serving` is the number of its workers that serve.
    pub(super) fn step(&mut self, wanted: u32, serving: usize, now: Instant) -> HandOverStep {
        let given = self.given.min(wanted);
        let missing = given.saturating_sub(u32::try_from(serving).unwrap_or(u32::MAX));
        if missing == 0 && given >= wanted {
            return HandOverStep::Finish;
        }
        if missing > 0 {
            if given >= wanted || missing >= (wanted / 2).max(1) {
                return HandOverStep::Wait(None);
            }
            let patient_until = self.last.map(|last| last + PATIENCE);
            if patient_until.is_some_and(|until| until > now) {
                return HandOverStep::Wait(patient_until);
            }
        }
        self.given += 1;
        self.last = Some(now);
        HandOverStep::Replace(self.given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_after_the_other_is_replaced() {
        let now = Instant::now();
        let mut hand_over = HandOver::default();
        for worker_id in 1..=3 {
            let serving = worker_id as usize - 1;
            assert_eq!(
                hand_over.step(3, serving, now),
                HandOverStep::Replace(worker_id)
            );
            assert!(worker_id == 1 || hand_over.step(3, serving, now) == HandOverStep::Wait(None));
        }
        assert_eq!(hand_over.step(3, 3, now), HandOverStep::Finish);
    }

    #[test]
    fn half_of_the_workers_may_be_missing_when_one_takes_long() {
        let now = Instant::now();
        let mut hand_over = HandOver::default();
        assert_eq!(hand_over.step(4, 0, now), HandOverStep::Replace(1));
        let later = now + PATIENCE;
        assert_eq!(hand_over.step(4, 0, now), HandOverStep::Wait(Some(later)));
        assert_eq!(hand_over.step(4, 0, later), HandOverStep::Replace(2));
        let much_later = later + PATIENCE;
        assert_eq!(hand_over.step(4, 0, much_later), HandOverStep::Wait(None));
        assert_eq!(hand_over.step(4, 1, much_later), HandOverStep::Replace(3));
    }

    #[test]
    fn a_generation_without_workers_has_taken_over_at_once() {
        let step = HandOver::default().step(0, 0, Instant::now());
        assert_eq!(step, HandOverStep::Finish);
    }
}
