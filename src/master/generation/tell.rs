//! How a generation is, told to those who ask.

use std::time::Instant;

use crate::control::messages::{self, Doing, Worker};
use crate::log;
use crate::master::report;
use crate::master::slot::SlotState;
use crate::sys::memory;

use super::Generation;

impl Generation {
    /// Everything about it and its workers.
    pub(in crate::master) fn told(&self, now: Instant) -> messages::Generation {
        let used =
            (0..self.slots.len()).filter(|slot| self.slots[*slot].state != SlotState::Vacant);
        let mut workers: Vec<Worker> = used.map(|slot| self.worker_told(slot, now)).collect();
        workers.sort_by_key(|worker| worker.slot);
        messages::Generation {
            number: self.number,
            state: report::role(self.role).to_owned(),
            zygote: self.zygote.pid().map(|pid| pid.get()),
            requests: self.requests(),
            workers,
        }
    }

    fn worker_told(&self, slot: usize, now: Instant) -> Worker {
        let it = &self.slots[slot];
        let worker = it.state.worker();
        let text = |bytes: &[u8]| log::escape(bytes).to_string();
        let doing = self.requests_in_flight(slot).into_iter().map(|request| {
            let (line, client) = request.parts();
            Doing {
                thread: request.thread,
                request: text(line),
                client: text(client),
                age: request.age.as_secs_f64(),
            }
        });
        Worker {
            slot: it.number,
            pid: worker.map(|worker| worker.pid.get()),
            state: report::name(&it.state).to_owned(),
            requests: self.scoreboard.worker_requests(slot as u32 + 1),
            age: worker.map(|worker| now.duration_since(worker.since).as_secs_f64()),
            memory_kib: worker.and_then(|worker| memory::proportional_kib(worker.pid.get())),
            doing: doing.collect(),
        }
    }

    /// Whether one of its workers may still accept a connection.
    pub(in crate::master) fn accepts(&self) -> bool {
        self.slots.iter().any(|slot| match slot.state {
            SlotState::Serving { .. } => true,
            SlotState::Leaving { .. } => !slot.closed,
            _ => false,
        })
    }

    /// Workers that serve.
    pub(in crate::master) fn serving_count(&self) -> usize {
        let serves = |slot: &&super::WorkerSlot| matches!(slot.state, SlotState::Serving { .. });
        self.slots.iter().filter(serves).count()
    }

    /// Whether a worker of this number serves.
    pub(in crate::master) fn serves(&self, number: u32) -> bool {
        let serves = |slot: &super::WorkerSlot| {
            slot.number == number && matches!(slot.state, SlotState::Serving { .. })
        };
        self.slots.iter().any(serves)
    }
}
