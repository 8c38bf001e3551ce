//! How many workers there are to be: further ones are begun, or the last ones told to leave.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use crate::channel::ToWorker;
use crate::master::generation::Standing;
use crate::master::slot::{self, Slot};

use super::Crew;

impl Crew {
    /// How many workers are wanted: those with the numbers from 1 to this.
    pub(in crate::master) fn wanted(&self) -> u32 {
        self.wanted
    }

    /// From now on so many workers are wanted, at most `processes`. Those with higher numbers accept no more; what they
    /// work on they may finish (`worker-reload-mercy`).
    pub(in crate::master) fn scale(&mut self, wanted: u32, now: Instant) {
        if self.standing == Standing::Old {
            return;
        }
        self.wanted = wanted.min(self.plan.app.serving.processes);
        let deadline = now + self.plan.mercy;
        for seat in 0..self.seats.len() {
            let release = slot::Event::Dismiss {
                word: ToWorker::Retire,
                deadline,
            };
            let leaves = matches!(self.seats[seat].slot, Slot::Leaving { replace: false, .. });
            if self.seats[seat].number > self.wanted && !leaves {
                self.step_slot(seat, release, now);
            }
        }
        self.unplaced = true;
        self.place_wanted(now);
    }

    /// Every worker that is wanted and has no place gets one, as soon as one is free.
    pub(super) fn place_wanted(&mut self, now: Instant) {
        if !self.unplaced || self.standing == Standing::Old {
            return;
        }
        self.unplaced = false;
        for number in 1..=self.wanted {
            let has_place = |it: &super::Seat| {
                it.number == number
                    && match it.slot {
                        Slot::Leaving { replace, .. } | Slot::Killed { replace, .. } => replace,
                        ref slot => slot.covers(),
                    }
            };
            if !self.seats.iter().any(has_place) && !self.place(number, now) {
                self.unplaced = true;
            }
        }
    }

    /// Whether it has workers, of whatever kind.
    pub(in crate::master) fn has_workers(&self) -> bool {
        self.seats.iter().any(|seat| seat.slot != Slot::Vacant)
    }

    /// What there was to do until now: a number that grows with each request, refused ones included.
    pub(in crate::master) fn requests_seen(&self) -> u64 {
        let refused = (1..=self.scoreboard.processes()).filter_map(|row| {
            let row = self.scoreboard.worker(row)?;
            Some(row.refused.load(Relaxed))
        });
        self.requests().wrapping_add(refused.sum())
    }

    /// Whether a thread works on a request.
    pub(in crate::master) fn is_busy(&self) -> bool {
        (0..self.seats.len()).any(|seat| {
            self.seats[seat].slot.worker().is_some() && !self.requests_in_flight(seat).is_empty()
        })
    }
}
