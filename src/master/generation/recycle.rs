//! Replaces workers that reach a limit, one worker at a time, and workers that an operator selects.

use std::time::Instant;

use crate::master::memory_limits::{MemoryLimit, USUAL_CHECK};
use crate::master::report;
use crate::master::role::GenerationRole;
use crate::master::slot::{self, SlotState};
use crate::master::worker_ids::Share;
use crate::master::worker_limits::{LimitVerdict, RecycleReason, WorkerUsage};
use crate::master::worker_slot::{MemorySample, RemovalReason, WorkerSlot};
use crate::sys::memory::Memory;
use crate::sys::process::Pid;

use super::Generation;

impl Generation {
    /// Checks each serving worker against the limits (`max-requests`, `reload-on-rss` and similar options). Replaces or
    /// kills a worker that has reached a limit. Schedules the next check.
    pub(super) fn check_limits(&mut self, now: Instant) {
        if self.role == GenerationRole::Old || !self.plan.limits.any() {
            return;
        }
        if self.has_workers() {
            self.check_by(now + USUAL_CHECK);
        }
        for slot in 0..self.slots.len() {
            if !self.slots[slot].is_serving() || self.slots[slot].removal().is_some() {
                continue;
            }
            let Some(usage) = self.usage(slot, now) else {
                continue;
            };
            let again = self.plan.limits.memory.next_check(&usage.memory);
            match self.plan.limits.judge(&usage) {
                LimitVerdict::Keep => {}
                LimitVerdict::Recycle(reason) => self.recycle(slot, reason, now),
                LimitVerdict::Kill(reason) => {
                    self.slots[slot].remove_for(RemovalReason::OverLimit(reason));
                    self.step_slot(slot, slot::Event::KillWorker, now);
                }
            }
            self.check_by(now + again);
        }
    }

    fn usage(&mut self, slot: usize, now: Instant) -> Option<WorkerUsage> {
        let worker = *self.slots[slot].state.worker()?;
        let mut usage = WorkerUsage {
            worker_id: self.slots[slot].worker_id,
            age: now.duration_since(worker.since),
            requests: self.requests_of(slot),
            ..WorkerUsage::default()
        };
        if self.plan.limits.memory.any() {
            let memory = Memory::of(worker.pid)?;
            usage.memory.resident = memory.resident;
            usage.memory.address_space = memory.address_space;
            let record = self.slots[slot].record.as_mut()?;
            let sample = MemorySample {
                at: now,
                resident: memory.resident,
            };
            if let Some(before) = record.memory.replace(sample) {
                let seconds = now.duration_since(before.at).as_secs_f64().max(0.001);
                let growth = memory.resident.saturating_sub(before.resident) as f64 / seconds;
                usage.memory.growth = growth as u64;
            }
        }
        Some(usage)
    }

    /// Replaces a worker, unless another worker is being replaced. In that case the next check of the limits tries
    /// again.
    fn recycle(&mut self, slot: usize, reason: RecycleReason, now: Instant) {
        if self.can_replace() && !self.is_replacing() {
            self.supersede(slot, reason, now);
        }
    }

    /// Whether the zygote can fork a successor now. While a reload replaces all workers, this generation forks no
    /// successors.
    fn can_replace(&self) -> bool {
        self.zygote.forks() && self.share == Share::All
    }

    /// Whether a worker is being replaced: a requested worker leaves or starts, and no other worker serves with its
    /// worker id. A worker that starts again after a failed start does not count.
    fn is_replacing(&self) -> bool {
        let is_in_exchange = |it: &WorkerSlot| match it.state {
            SlotState::Empty { failures, .. } | SlotState::Forking { failures, .. } => {
                failures == 0
            }
            SlotState::Parked { worker }
            | SlotState::Starting { worker }
            | SlotState::Held { worker } => worker.failures == 0,
            SlotState::Leaving { .. } | SlotState::Killed { .. } => true,
            SlotState::Serving { .. } | SlotState::Vacant => false,
        };
        let mut wanted = self.slots.iter().filter(|it| it.worker_id <= self.wanted);
        wanted.any(|it| is_in_exchange(it) && !self.serves(it.worker_id))
    }

    /// Requests the successor of a worker, then retires the worker. Returns `false`, and does not retire the worker, if
    /// no slot is vacant for the successor.
    fn supersede(&mut self, slot: usize, reason: RecycleReason, now: Instant) -> bool {
        self.start_successor(slot, now);
        if !self.has_successor(slot) {
            return false;
        }
        self.note_recycled(slot, reason, now);
        let deadline = now + self.plan.mercy;
        self.step_slot(slot, slot::Event::Retire { deadline }, now);
        true
    }

    fn note_recycled(&mut self, slot: usize, reason: RecycleReason, now: Instant) {
        let requests = self.requests_of(slot);
        if let Some(worker) = self.slots[slot].state.worker() {
            let worker_id = self.slots[slot].worker_id;
            report::recycled(worker_id, worker, requests, reason, now);
            self.slots[slot].remove_for(RemovalReason::Recycled(reason));
        }
    }

    /// Replaces the worker with this id on request of an operator, and returns the pid of the worker that leaves. The
    /// worker finishes its requests first; with `at_once` it is killed.
    ///
    /// # Errors
    /// A sentence for the operator, if the worker does not exist or leaves already, or if no successor can be forked
    /// now.
    pub(in crate::master) fn replace(
        &mut self,
        worker_id: u32,
        at_once: bool,
        now: Instant,
    ) -> Result<Pid, String> {
        let most = self.plan.app.worker.processes;
        if worker_id == 0 || worker_id > most {
            return Err(format!(
                "there is no worker {worker_id}: they are 1 to {most}"
            ));
        }
        let can_leave = |it: &WorkerSlot| match it.state {
            SlotState::Serving { .. } => at_once || it.removal().is_none(),
            SlotState::Parked { .. } | SlotState::Starting { .. } | SlotState::Leaving { .. } => {
                at_once
            }
            _ => false,
        };
        let mut workers = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, it)| it.worker_id == worker_id);
        let found = workers.clone().find(|(_, it)| can_leave(it));
        let Some((slot, pid)) = found.and_then(|(slot, it)| Some((slot, it.state.worker()?.pid)))
        else {
            return Err(match workers.any(|(_, it)| it.state.worker().is_some()) {
                true => format!("worker {worker_id} is being replaced already; --now kills it"),
                false => format!("worker {worker_id} has no process now"),
            });
        };
        if at_once {
            self.slots[slot].remove_for(RemovalReason::Operator);
            self.step_slot(slot, slot::Event::KillWorker, now);
        } else if !self.can_replace() {
            return Err(format!(
                "worker {worker_id} cannot be replaced now, because no other could be forked: a reload is running, or the application is being loaded again; --now kills it"
            ));
        } else if !self.supersede(slot, RecycleReason::Operator, now) {
            return Err(format!(
                "worker {worker_id} cannot be replaced before its last predecessor has exited; --now kills it"
            ));
        }
        Ok(pid)
    }

    /// Handles a worker's report that it reached `reload-on-rss` between two checks of the master. The worker accepts
    /// no more connections, and its successor is requested.
    pub(super) fn replace_large(&mut self, slot: usize, now: Instant) {
        let deadline = now + self.plan.mercy;
        let limit = self.plan.limits.memory.resident.unwrap_or_default();
        if self.slots[slot].removal().is_none() {
            self.note_recycled(
                slot,
                RecycleReason::Memory(MemoryLimit::Resident(limit)),
                now,
            );
        }
        self.step_slot(slot, slot::Event::Leaves { deadline }, now);
        self.start_successor(slot, now);
    }
}
