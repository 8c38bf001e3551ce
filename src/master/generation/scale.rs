//! How many workers there are to be: further ones are begun, or the last ones told to leave.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::ipc::ToWorker;
use crate::master::role::GenerationRole;
use crate::master::scale::{self, Memory, Reading};
use crate::master::slot::{self, SlotState};
use crate::sys::clock::monotonic_micros;
use crate::sys::{backlog, process};

use super::Generation;

/// How often the load is looked at.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a worker that is one too many may finish what it works on: nobody waits for its place.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// What the number of workers has followed until now (`cheaper`).
#[derive(Default)]
pub(super) struct Load {
    memory: Memory,
    looked: Option<Instant>,
    /// That the queue of a socket cannot be had has been said.
    queue_missed: bool,
}

impl Generation {
    /// How many workers are wanted: those with the numbers from 1 to this.
    pub(in crate::master) fn wanted(&self) -> u32 {
        self.wanted
    }

    /// From now on so many workers are wanted, at most `processes`. Those with higher numbers accept no more; what they
    /// work on they may finish, however long it takes: only a stop or a reload sets them a nearer end.
    pub(in crate::master) fn scale(&mut self, wanted: u32, now: Instant) {
        if self.role == GenerationRole::Old {
            return;
        }
        self.wanted = wanted.min(self.plan.app.serving.processes);
        let deadline = now + PATIENCE;
        for slot in 0..self.slots.len() {
            let release = slot::Event::Dismiss {
                word: ToWorker::Retire,
                deadline,
            };
            let leaves = matches!(
                self.slots[slot].state,
                SlotState::Leaving { replace: false, .. }
            );
            if self.slots[slot].number > self.wanted && !leaves {
                self.step_slot(slot, release, now);
            }
        }
        self.unplaced = true;
        self.place_wanted(now);
    }

    /// Every worker that is wanted and has no place gets one, as soon as one is free.
    pub(super) fn place_wanted(&mut self, now: Instant) {
        if !self.unplaced || self.role == GenerationRole::Old {
            return;
        }
        self.unplaced = false;
        for number in 1..=self.wanted {
            let has_place = |it: &super::WorkerSlot| {
                it.number == number
                    && match it.state {
                        SlotState::Leaving { replace, .. } | SlotState::Killed { replace, .. } => {
                            replace
                        }
                        ref slot => slot.covers(),
                    }
            };
            if !self.slots.iter().any(has_place) && !self.place(number, now) {
                self.unplaced = true;
            }
        }
    }

    /// Lets the number follow the load, once a second.
    pub(super) fn follow_load(&mut self, now: Instant) {
        if self.role != GenerationRole::Current || !self.plan.scale.follows() {
            return;
        }
        if self.wanted == 0 {
            self.load = Load::default();
            return;
        }
        let due = self.load.looked.map_or(now, |looked| looked + PAUSE);
        if now < due {
            return self.look_by(due);
        }
        self.look_by(now + PAUSE);
        let busy = self.busy_time();
        let Some(looked) = self.load.looked.replace(now) else {
            return;
        };
        let serving = self.serving().count();
        let reading = Reading {
            wanted: self.wanted,
            serving: u32::try_from(serving).unwrap_or(u32::MAX),
            threads: self.plan.app.serving.threads,
            busy: busy.as_secs_f64() / now.duration_since(looked).as_secs_f64().max(0.001),
            queue: self.queue(),
            resident: self.resident(),
        };
        let wanted = scale::judge(&self.plan.scale, &mut self.load.memory, &reading);
        if wanted != self.wanted {
            tracing::info!(
                "cheaper: {wanted} workers are wanted, {} until now ({:.1} of {} threads were busy, {} connections wait)",
                self.wanted,
                reading.busy,
                reading.serving * reading.threads,
                reading.queue,
            );
            self.scale(wanted, now);
        }
    }

    fn serving(&self) -> impl Iterator<Item = usize> {
        (0..self.slots.len())
            .filter(|slot| matches!(self.slots[*slot].state, SlotState::Serving { .. }))
    }

    /// How long the threads of the workers that serve were busy since this was asked last, added up.
    fn busy_time(&mut self) -> Duration {
        let clock = monotonic_micros();
        let mut total = 0;
        for slot in self.serving().collect::<Vec<_>>() {
            let threads = (0..self.plan.app.serving.threads)
                .filter_map(|thread| self.scoreboard.thread(slot as u32 + 1, thread));
            let busy = threads
                .map(|row| match row.busy_since.load(Relaxed) {
                    0 => row.running_us.load(Relaxed),
                    since => row.running_us.load(Relaxed) + clock.saturating_sub(since),
                })
                .sum::<u64>();
            total += busy.saturating_sub(self.slots[slot].busy);
            self.slots[slot].busy = busy;
        }
        Duration::from_micros(total)
    }

    /// Connections that wait at its sockets, as far as an algorithm wants to know.
    fn queue(&mut self) -> u32 {
        if !self.plan.scale.needs_queue() {
            return 0;
        }
        let mut total = 0u32;
        for socket in &self.plan.sockets {
            match backlog::waiting(socket.fd()) {
                Ok(waiting) => total = total.saturating_add(waiting),
                Err(_) if self.load.queue_missed => {}
                Err(error) => {
                    self.load.queue_missed = true;
                    tracing::warn!(
                        "how many connections wait at {} cannot be had: {error}; cheaper-algo goes without",
                        socket.listener.name
                    );
                }
            }
        }
        total
    }

    /// The resident memory of its workers, as far as a limit wants to know, bytes.
    fn resident(&self) -> u64 {
        if !self.plan.scale.needs_memory() {
            return 0;
        }
        let workers = self.slots.iter().filter_map(|slot| slot.state.worker());
        workers
            .filter_map(|worker| process::memory(worker.pid))
            .map(|memory| memory.resident)
            .sum()
    }

    /// Whether it has workers, of whatever kind.
    pub(in crate::master) fn has_workers(&self) -> bool {
        self.slots
            .iter()
            .any(|slot| slot.state != SlotState::Vacant)
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
        (0..self.slots.len()).any(|slot| {
            self.slots[slot].state.worker().is_some() && !self.requests_in_flight(slot).is_empty()
        })
    }
}
