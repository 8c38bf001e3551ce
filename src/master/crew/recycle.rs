//! Workers that are old, used up or too large are replaced: one at a time, the new one before the old one goes.

use std::time::Instant;

use crate::master::generation::Standing;
use crate::master::limits::{Look, Reason, USUAL, Verdict};
use crate::master::report;
use crate::master::slot::{self, Slot};
use crate::sys::process;

use super::{Crew, Doom};

impl Crew {
    /// Judges all workers that serve.
    pub(super) fn judge_limits(&mut self, now: Instant) {
        self.hand_over(now);
        if self.standing == Standing::Old || !self.plan.limits.any() {
            return;
        }
        if self.has_workers() {
            self.look_by(now + USUAL);
        }
        for seat in 0..self.seats.len() {
            let serves = matches!(self.seats[seat].slot, Slot::Serving { .. });
            if !serves || self.seats[seat].doom.is_some() {
                continue;
            }
            let Some(look) = self.look_at(seat, now) else {
                continue;
            };
            let again = self.plan.limits.again(&look);
            match self.plan.limits.judge(&look) {
                Verdict::Stays => {}
                Verdict::Recycle(reason) => self.recycle(seat, reason, now),
                Verdict::Kill(reason) => {
                    self.seats[seat].doom = Some(Doom::Evil(reason));
                    self.step_slot(seat, slot::Event::Condemn, now);
                }
            }
            self.look_by(now + again);
        }
    }

    fn look_at(&mut self, seat: usize, now: Instant) -> Option<Look> {
        let worker = *self.seats[seat].slot.worker()?;
        let mut look = Look {
            number: self.seats[seat].number,
            age: now.duration_since(worker.since),
            requests: self.scoreboard.worker_requests(seat as u32 + 1),
            ..Look::default()
        };
        if self.plan.limits.needs_memory() {
            let memory = process::memory(worker.pid)?;
            (look.resident, look.address_space) = (memory.resident, memory.address_space);
            if let Some((then, before)) = self.seats[seat].memory {
                let seconds = now.duration_since(then).as_secs_f64().max(0.001);
                let growth = memory.resident.saturating_sub(before) as f64 / seconds;
                look.growth = growth as u64;
            }
            self.seats[seat].memory = Some((now, memory.resident));
        }
        Some(look)
    }

    /// Another worker is born for this one's number, unless one is being born for another.
    fn recycle(&mut self, seat: usize, reason: Reason, now: Instant) {
        let waiting = |it: &super::Seat| {
            matches!(it.doom, Some(Doom::Recycled(_))) && matches!(it.slot, Slot::Serving { .. })
        };
        if self.seats.iter().any(waiting) {
            return;
        }
        self.want_successor(seat, now);
        if self.is_covered(seat)
            && let Some(worker) = self.seats[seat].slot.worker()
        {
            let requests = self.scoreboard.worker_requests(seat as u32 + 1);
            report::recycled(self.seats[seat].number, worker, requests, reason, now);
            self.seats[seat].doom = Some(Doom::Recycled(reason));
        }
    }

    /// A worker whose successor serves is told to leave.
    fn hand_over(&mut self, now: Instant) {
        for seat in 0..self.seats.len() {
            let number = self.seats[seat].number;
            let waits = matches!(self.seats[seat].doom, Some(Doom::Recycled(_)))
                && matches!(self.seats[seat].slot, Slot::Serving { .. });
            let successor = |it: &super::Seat| {
                it.number == number && it.doom.is_none() && matches!(it.slot, Slot::Serving { .. })
            };
            if waits && self.seats.iter().any(successor) {
                let deadline = now + self.plan.mercy;
                self.step_slot(seat, slot::Event::Retire { deadline }, now);
            }
        }
    }
}
