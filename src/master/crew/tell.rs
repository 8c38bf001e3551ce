//! How a generation is, told to those who ask.

use std::time::Instant;

use crate::control::messages::{Doing, Generation, Worker};
use crate::log;
use crate::master::report;
use crate::master::slot::Slot;
use crate::sys::memory;

use super::Crew;

impl Crew {
    /// Everything about it and its workers.
    pub(in crate::master) fn told(&self, now: Instant) -> Generation {
        let used = (0..self.seats.len()).filter(|seat| self.seats[*seat].slot != Slot::Vacant);
        let mut workers: Vec<Worker> = used.map(|seat| self.worker_told(seat, now)).collect();
        workers.sort_by_key(|worker| worker.slot);
        Generation {
            number: self.number,
            state: report::standing(self.standing).to_owned(),
            zygote: self.zygote.pid().map(|pid| pid.get()),
            requests: self.requests(),
            workers,
        }
    }

    fn worker_told(&self, seat: usize, now: Instant) -> Worker {
        let it = &self.seats[seat];
        let worker = it.slot.worker();
        let text = |bytes: &[u8]| log::escape(bytes).to_string();
        let doing = self.requests_in_flight(seat).into_iter().map(|request| {
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
            state: report::name(&it.slot).to_owned(),
            requests: self.scoreboard.worker_requests(seat as u32 + 1),
            age: worker.map(|worker| now.duration_since(worker.since).as_secs_f64()),
            memory_kib: worker.and_then(|worker| memory::proportional_kib(worker.pid.get())),
            doing: doing.collect(),
        }
    }

    /// Whether one of its workers may still accept a connection.
    pub(in crate::master) fn accepts(&self) -> bool {
        self.seats.iter().any(|seat| match seat.slot {
            Slot::Serving { .. } => true,
            Slot::Leaving { .. } => !seat.closed,
            _ => false,
        })
    }

    /// Workers that serve.
    pub(in crate::master) fn serving_count(&self) -> usize {
        let serves = |seat: &&super::Seat| matches!(seat.slot, Slot::Serving { .. });
        self.seats.iter().filter(serves).count()
    }

    /// Whether a worker of this number serves.
    pub(in crate::master) fn serves(&self, number: u32) -> bool {
        let serves =
            |seat: &super::Seat| seat.number == number && matches!(seat.slot, Slot::Serving { .. });
        self.seats.iter().any(serves)
    }
}
