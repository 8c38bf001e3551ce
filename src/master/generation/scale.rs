//! Changes of the number of workers of a generation: more workers are started, or the workers with the highest ids
//! retire.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::ipc::ToWorker;
use crate::master::role::GenerationRole;
use crate::master::scale::{self, LoadSample};
use crate::master::slot::{self, SlotState};
use crate::master::worker_ids::Share;
use crate::master::worker_slot::WorkerSlot;
use crate::sys::clock::monotonic_micros;
use crate::sys::{backlog, memory};

use super::Generation;
use super::processes::{LoadSampling, row_of};

/// Time between two samples of the load.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// Timeout for a surplus worker to finish its requests. It is long, because no other worker waits for the slot.
const SURPLUS_MERCY: Duration = Duration::from_secs(24 * 60 * 60);

impl Generation {
    /// The number of requested workers. Their ids are 1 to this number.
    pub(in crate::master) fn wanted(&self) -> u32 {
        self.wanted
    }

    /// Sets the number of requested workers, at most `processes`. Workers with higher ids accept no more connections,
    /// and have [`SURPLUS_MERCY`] to finish their requests. A stop or a reload shortens this time. An old generation
    /// ignores the call.
    pub(in crate::master) fn scale(&mut self, wanted: u32, now: Instant) {
        if self.role == GenerationRole::Old {
            return;
        }
        self.wanted = wanted.min(self.plan.app.worker.processes);
        let release = slot::Event::Dismiss {
            message: ToWorker::Retire,
            deadline: now + SURPLUS_MERCY,
        };
        for slot in 0..self.slots.len() {
            let leaves = matches!(
                self.slots[slot].state,
                SlotState::Leaving { replace: false, .. }
            );
            if self.slots[slot].worker_id > self.wanted && !leaves {
                self.step_slot(slot, release, now);
            }
        }
        self.has_unplaced = true;
        self.place_wanted(now);
    }

    /// Samples the load once a second and adjusts the number of workers (`cheaper`).
    pub(super) fn follow_load(&mut self, now: Instant) {
        let is_current = self.role == GenerationRole::Current && self.share == Share::All;
        if !is_current || !self.plan.scale.follows_load() {
            return;
        }
        if self.wanted == 0 {
            self.load = LoadSampling::default();
            return;
        }
        let due = self.load.sampled.map_or(now, |at| at + SAMPLE_INTERVAL);
        if now < due {
            return self.check_by(due);
        }
        self.check_by(now + SAMPLE_INTERVAL);
        let busy = self.take_busy_time();
        let Some(before) = self.load.sampled.replace(now) else {
            return;
        };
        let seconds = now.duration_since(before).as_secs_f64().max(0.001);
        let sample = LoadSample {
            wanted: self.wanted,
            serving: u32::try_from(self.serving_count()).unwrap_or(u32::MAX),
            threads: self.plan.app.worker.threads,
            busy: busy.as_secs_f64() / seconds,
            queue: self.queue_length(),
            resident: self.resident_memory(),
        };
        let wanted = scale::next_count(&self.plan.scale, &mut self.load.history, &sample);
        if wanted != self.wanted {
            tracing::info!(
                "cheaper: workers: {} -> {wanted} ({:.1} of {} threads busy, {} connections waiting)",
                self.wanted,
                sample.busy,
                sample.serving * sample.threads,
                sample.queue,
            );
            self.scale(wanted, now);
        }
    }

    /// Sum of the busy time of all threads of the serving workers since the last call.
    fn take_busy_time(&mut self) -> Duration {
        let clock = monotonic_micros();
        let mut total = 0;
        for (slot, it) in self.slots.iter_mut().enumerate() {
            let Some(record) = it.record.as_mut().filter(|_| is_serving(&it.state)) else {
                continue;
            };
            let threads = (0..self.plan.app.worker.threads)
                .filter_map(|thread| self.scoreboard.thread(row_of(slot), thread));
            let busy = threads
                .map(|row| match row.busy_since.load(Relaxed) {
                    0 => row.running_us.load(Relaxed),
                    since => {
                        let now = clock.saturating_sub(since);
                        row.running_us.load(Relaxed).saturating_add(now)
                    }
                })
                .fold(0, u64::saturating_add);
            total = busy.saturating_sub(record.busy).saturating_add(total);
            record.busy = busy;
        }
        Duration::from_micros(total)
    }

    /// Number of connections in the accept queues of the sockets; 0 if the algorithm of `cheaper` does not need the
    /// number.
    fn queue_length(&mut self) -> u32 {
        if !self.plan.scale.needs_queue() {
            return 0;
        }
        self.waiting_connections()
    }

    /// Number of connections in the accept queues of the sockets. A queue that cannot be read counts as empty; the
    /// first failure is logged.
    pub(super) fn waiting_connections(&mut self) -> u32 {
        let mut total = 0u32;
        for socket in &self.plan.sockets {
            match backlog::waiting(socket.fd()) {
                Ok(waiting) => total = total.saturating_add(waiting),
                Err(_) if self.load.queue_warned => {}
                Err(error) => {
                    self.load.queue_warned = true;
                    tracing::warn!(
                        "the accept queue of {} cannot be read: {error}; it counts as empty",
                        socket.listener.name
                    );
                }
            }
        }
        total
    }

    /// Sum of the resident memory of the workers, bytes; 0 if no memory limit of `cheaper` needs it.
    fn resident_memory(&self) -> u64 {
        if !self.plan.scale.needs_memory() {
            return 0;
        }
        let workers = self.slots.iter().filter_map(|slot| slot.state.worker());
        workers
            .filter_map(|worker| memory::Memory::of(worker.pid))
            .map(|memory| memory.resident)
            .sum()
    }

    /// Number of workers that serve.
    pub(in crate::master) fn serving_count(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_serving()).count()
    }

    /// Whether any slot has a worker, or waits for a worker.
    pub(in crate::master) fn has_workers(&self) -> bool {
        self.slots
            .iter()
            .any(|slot| slot.state != SlotState::Vacant)
    }

    /// Number of all requests so far, including refused ones. Callers compare the number with an earlier value.
    pub(in crate::master) fn requests_seen(&self) -> u64 {
        let refused = (1..=self.scoreboard.processes()).filter_map(|row| {
            let row = self.scoreboard.worker(row)?;
            Some(row.refused.load(Relaxed))
        });
        refused.fold(self.requests(), u64::wrapping_add)
    }

    /// Whether any worker has a request in flight.
    pub(in crate::master) fn is_busy(&self) -> bool {
        (0..self.slots.len()).any(|slot| {
            self.slots[slot].state.worker().is_some() && !self.requests_in_flight(slot).is_empty()
        })
    }

    /// Whether a worker of this generation may still accept a connection.
    pub(in crate::master) fn accepts(&self) -> bool {
        let accepts = |slot: &WorkerSlot| match slot.state {
            SlotState::Serving { .. } => true,
            SlotState::Leaving { .. } => !slot.record.as_ref().is_some_and(|it| it.closed),
            _ => false,
        };
        self.slots.iter().any(accepts)
    }

    /// Whether a worker with this id serves.
    pub(in crate::master) fn serves(&self, worker_id: u32) -> bool {
        let mut slots = self.slots.iter();
        slots.any(|slot| slot.worker_id == worker_id && slot.is_serving())
    }
}

fn is_serving(state: &SlotState) -> bool {
    matches!(state, SlotState::Serving { .. })
}
