//! Workers that are old, used up or too large are replaced: one at a time, the new one before the old one goes.

use std::time::Instant;

use crate::master::limits::{Look, Reason, USUAL, Verdict};
use crate::master::report;
use crate::master::role::GenerationRole;
use crate::master::slot::{self, SlotState};
use crate::sys::process::{self, Pid};

use super::{Generation, RemovalReason};

impl Generation {
    /// Judges all workers that serve.
    pub(super) fn judge_limits(&mut self, now: Instant) {
        self.hand_over(now);
        if self.role == GenerationRole::Old || !self.plan.limits.any() {
            return;
        }
        if self.has_workers() {
            self.look_by(now + USUAL);
        }
        for slot in 0..self.slots.len() {
            let serves = matches!(self.slots[slot].state, SlotState::Serving { .. });
            if !serves || self.slots[slot].removal.is_some() {
                continue;
            }
            let Some(look) = self.look_at(slot, now) else {
                continue;
            };
            let again = self.plan.limits.again(&look);
            match self.plan.limits.judge(&look) {
                Verdict::Stays => {}
                Verdict::Recycle(reason) => self.recycle(slot, reason, now),
                Verdict::Kill(reason) => {
                    self.slots[slot].removal = Some(RemovalReason::Evil(reason));
                    self.step_slot(slot, slot::Event::Condemn, now);
                }
            }
            self.look_by(now + again);
        }
    }

    fn look_at(&mut self, slot: usize, now: Instant) -> Option<Look> {
        let worker = *self.slots[slot].state.worker()?;
        let mut look = Look {
            number: self.slots[slot].number,
            age: now.duration_since(worker.since),
            requests: self.scoreboard.worker_requests(slot as u32 + 1),
            ..Look::default()
        };
        if self.plan.limits.needs_memory() {
            let memory = process::memory(worker.pid)?;
            (look.resident, look.address_space) = (memory.resident, memory.address_space);
            if let Some((then, before)) = self.slots[slot].memory {
                let seconds = now.duration_since(then).as_secs_f64().max(0.001);
                let growth = memory.resident.saturating_sub(before) as f64 / seconds;
                look.growth = growth as u64;
            }
            self.slots[slot].memory = Some((now, memory.resident));
        }
        Some(look)
    }

    /// Another worker is born for this one's number, unless one is being born for another.
    fn recycle(&mut self, slot: usize, reason: Reason, now: Instant) {
        let waiting = |it: &super::WorkerSlot| {
            matches!(it.removal, Some(RemovalReason::Recycled(_)))
                && matches!(it.state, SlotState::Serving { .. })
        };
        if self.slots.iter().any(waiting) {
            return;
        }
        self.supersede(slot, reason, now);
    }

    /// Another worker is born for this one's number, and takes over when it serves; `false` when there is no place
    /// for it.
    fn supersede(&mut self, slot: usize, reason: Reason, now: Instant) -> bool {
        self.want_successor(slot, now);
        if !self.is_covered(slot) {
            return false;
        }
        if let Some(worker) = self.slots[slot].state.worker() {
            let requests = self.scoreboard.worker_requests(slot as u32 + 1);
            report::recycled(self.slots[slot].number, worker, requests, reason, now);
            self.slots[slot].removal = Some(RemovalReason::Recycled(reason));
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
        let of_number = |slot: &usize| self.slots[*slot].number == number;
        let goes = |slot: &usize| match self.slots[*slot].state {
            SlotState::Serving { .. } => at_once || self.slots[*slot].removal.is_none(),
            SlotState::Starting { .. } | SlotState::Leaving { .. } => at_once,
            _ => false,
        };
        let mut slots = (0..self.slots.len()).filter(of_number);
        let found = slots.clone().find(goes);
        let Some((slot, pid)) = found.and_then(|slot| {
            let worker = self.slots[slot].state.worker()?;
            Some((slot, worker.pid))
        }) else {
            let is_going = slots.any(|slot| self.slots[slot].state.worker().is_some());
            return Err(match is_going {
                true => format!("worker {number} is being replaced already; --now kills it"),
                false => format!("worker {number} has no process now"),
            });
        };
        if at_once {
            self.slots[slot].removal = Some(RemovalReason::Unwanted);
            self.step_slot(slot, slot::Event::Condemn, now);
        } else if !self.supersede(slot, Reason::Asked, now) {
            return Err(format!(
                "worker {number} cannot be replaced before its last predecessor has gone; --now kills it"
            ));
        }
        Ok(pid)
    }

    /// A worker has reached `reload-on-rss` before that was seen coming: it accepts no more, and another one follows.
    pub(super) fn follow_large(&mut self, slot: usize, now: Instant) {
        let deadline = now + self.plan.mercy;
        let limit = self.plan.limits.resident.unwrap_or_default();
        let reason = Reason::Resident(limit);
        if self.slots[slot].removal.is_none()
            && let Some(worker) = self.slots[slot].state.worker()
        {
            let requests = self.scoreboard.worker_requests(slot as u32 + 1);
            report::recycled(self.slots[slot].number, worker, requests, reason, now);
            self.slots[slot].removal = Some(RemovalReason::Recycled(reason));
        }
        self.step_slot(slot, slot::Event::Leaves { deadline }, now);
        self.want_successor(slot, now);
    }

    /// A worker whose successor serves is told to leave.
    fn hand_over(&mut self, now: Instant) {
        for slot in 0..self.slots.len() {
            let number = self.slots[slot].number;
            let waits = matches!(self.slots[slot].removal, Some(RemovalReason::Recycled(_)))
                && matches!(self.slots[slot].state, SlotState::Serving { .. });
            let successor = |it: &super::WorkerSlot| {
                it.number == number
                    && it.removal.is_none()
                    && matches!(it.state, SlotState::Serving { .. })
            };
            if waits && self.slots.iter().any(successor) {
                let deadline = now + self.plan.mercy;
                self.step_slot(slot, slot::Event::Retire { deadline }, now);
            }
        }
    }
}
