//! Workers that are old, used up or too large are replaced: one at a time, the new one before the old one goes.

use std::time::Instant;

use crate::master::generation::Standing;
use crate::master::limits::{Look, Reason, USUAL, Verdict};
use crate::master::report;
use crate::master::slot::{self, Slot};
use crate::sys::process::{self, Pid};

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
        self.supersede(seat, reason, now);
    }

    /// Another worker is born for this one's number, and takes over when it serves; `false` when there is no place
    /// for it.
    fn supersede(&mut self, seat: usize, reason: Reason, now: Instant) -> bool {
        self.want_successor(seat, now);
        if !self.is_covered(seat) {
            return false;
        }
        if let Some(worker) = self.seats[seat].slot.worker() {
            let requests = self.scoreboard.worker_requests(seat as u32 + 1);
            report::recycled(self.seats[seat].number, worker, requests, reason, now);
            self.seats[seat].doom = Some(Doom::Recycled(reason));
        }
        true
    }

    /// Replaces the worker of this number, because an operator wants it: by a successor that takes over from it, or
    /// `at_once` by a kill. Gives the process that goes.
    ///
    /// # Errors
    /// A sentence about a worker that is not there, or goes already.
    pub(in crate::master) fn replace(
        &mut self,
        number: u32,
        at_once: bool,
        now: Instant,
    ) -> Result<Pid, String> {
        let most = self.plan.app.serving.processes;
        if number == 0 || number > most {
            return Err(format!("there is no worker {number}: they are 1 to {most}"));
        }
        let of_number = |seat: &usize| self.seats[*seat].number == number;
        let goes = |seat: &usize| match self.seats[*seat].slot {
            Slot::Serving { .. } => at_once || self.seats[*seat].doom.is_none(),
            Slot::Starting { .. } | Slot::Leaving { .. } => at_once,
            _ => false,
        };
        let mut seats = (0..self.seats.len()).filter(of_number);
        let found = seats.clone().find(goes);
        let Some((seat, pid)) = found.and_then(|seat| {
            let worker = self.seats[seat].slot.worker()?;
            Some((seat, worker.pid))
        }) else {
            let is_going = seats.any(|seat| self.seats[seat].slot.worker().is_some());
            return Err(match is_going {
                true => format!("worker {number} is being replaced already; --now kills it"),
                false => format!("worker {number} has no process now"),
            });
        };
        if at_once {
            self.seats[seat].doom = Some(Doom::Unwanted);
            self.step_slot(seat, slot::Event::Condemn, now);
        } else if !self.supersede(seat, Reason::Asked, now) {
            return Err(format!(
                "worker {number} cannot be replaced before its last predecessor has gone; --now kills it"
            ));
        }
        Ok(pid)
    }

    /// A worker has reached `reload-on-rss` before that was seen coming: it accepts no more, and another one follows.
    pub(super) fn follow_large(&mut self, seat: usize, now: Instant) {
        let deadline = now + self.plan.mercy;
        let limit = self.plan.limits.resident.unwrap_or_default();
        let reason = Reason::Resident(limit);
        if self.seats[seat].doom.is_none()
            && let Some(worker) = self.seats[seat].slot.worker()
        {
            let requests = self.scoreboard.worker_requests(seat as u32 + 1);
            report::recycled(self.seats[seat].number, worker, requests, reason, now);
            self.seats[seat].doom = Some(Doom::Recycled(reason));
        }
        self.step_slot(seat, slot::Event::Leaves { deadline }, now);
        self.want_successor(seat, now);
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
