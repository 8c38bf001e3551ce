//! The status of a generation: for the control socket, and for the log.

use std::time::Instant;

use crate::ipc::control::{self as messages, RequestStatus, Worker};
use crate::log::{self, counted};
use crate::master::report;
use crate::master::slot::SlotState;
use crate::master::zygote_state::Zygote;
use crate::sys::memory;

use super::Generation;

impl Generation {
    /// The generation and its workers, as `ruwsgi status` shows them.
    pub(in crate::master) fn status(&self, now: Instant) -> messages::Generation {
        let used =
            (0..self.slots.len()).filter(|slot| self.slots[*slot].state != SlotState::Vacant);
        let mut workers: Vec<Worker> = used.map(|slot| self.worker_status(slot, now)).collect();
        workers.sort_by_key(|worker| worker.slot);
        messages::Generation {
            number: self.number,
            state: report::role_name(self.role).to_owned(),
            zygote: self.zygote.pid().map(|pid| pid.get()),
            requests: self.requests(),
            workers,
            mules: self.mule_status(now),
        }
    }

    fn worker_status(&self, slot: usize, now: Instant) -> Worker {
        let it = &self.slots[slot];
        let worker = it.state.worker();
        let text = |bytes: &[u8]| log::escape(bytes).to_string();
        let doing = self.requests_in_flight(slot).into_iter().map(|request| {
            let (line, client) = request.parts();
            RequestStatus {
                thread: request.thread,
                request: text(line),
                client: text(client),
                age: request.age.as_secs_f64(),
            }
        });
        Worker {
            slot: it.worker_id,
            pid: worker.map(|worker| worker.pid.get()),
            state: report::slot_state_name(&it.state).to_owned(),
            requests: self.requests_of(slot),
            cut_responses: self.cut_responses_of(slot),
            signals: self.signals_of(slot),
            age: worker.map(|worker| now.duration_since(worker.since).as_secs_f64()),
            memory_kib: worker.and_then(|worker| memory::proportional_kib(worker.pid.get())),
            doing: doing.collect(),
        }
    }

    /// Describes the requested workers: `1 worker`, `4 workers of 2 threads`, `no worker until a connection comes`.
    pub(in crate::master) fn worker_count_text(&self) -> String {
        let plural = match self.wanted() {
            0 if self.plan.sockets.is_empty() => {
                return "services only (no socket, so no workers)".to_owned();
            }
            0 => return "no worker until a connection comes".to_owned(),
            1 => "",
            _ => "s",
        };
        let threads = match self.plan.app.worker.threads {
            0 | 1 => String::new(),
            threads => format!(" of {threads} threads"),
        };
        let most = match self.plan.scale.most {
            most if most > self.wanted() => format!(" (at most {most})"),
            _ => String::new(),
        };
        format!("{} worker{plural}{threads}{most}", self.wanted())
    }

    /// Writes the status to the log: a line for the generation and one for each slot in use.
    pub(in crate::master) fn log_status(&self, now: Instant) {
        let role = report::role_name(self.role);
        let zygote = match (&self.zygote, self.zygote.pid()) {
            (Zygote::Loading { .. }, Some(pid)) => format!("zygote pid {pid}, loading"),
            (_, Some(pid)) => format!("zygote pid {pid}"),
            (_, None) => "no zygote".to_owned(),
        };
        let number = self.number;
        tracing::info!(
            "generation {number}: {role}, {zygote}, {}",
            counted(self.requests(), "request")
        );
        for (worker_id, state, requests) in self.slots() {
            let name = report::slot_state_name(state);
            let Some(worker) = state.worker() else {
                let next = report::next_fork(state, now);
                tracing::info!("generation {number}, worker {worker_id}: {name}{next}");
                continue;
            };
            tracing::info!(
                "generation {number}, worker {worker_id} (pid {}): {name}, {} s old, {}",
                worker.pid,
                now.duration_since(worker.since).as_secs(),
                counted(requests, "request")
            );
        }
    }
}
