//! The I/O thread closes waiting connections when there are too many.

use std::time::Instant;

use super::{Control, Entry, IoThread};
use crate::http::crowding::{self, Candidate, Place, Wait};
use crate::http::pending::Pending;
use crate::http::refusal;
use crate::sys::clock::monotonic_micros;
use crate::sys::stream;

impl<C: Control> IoThread<C> {
    /// Closes waiting connections beyond the limit, or where a thread lacks a descriptor.
    pub(super) fn relieve(&mut self) {
        let engine = self.engine.clone();
        let crowding = &engine.crowding;
        let pending = self.count + engine.dispatch.ready_count();
        crowding.set_pending(pending);
        let lacking = crowding.take_lacking();
        let surplus = crowding::surplus(pending + engine.idle_count(), crowding.limit, lacking);
        if surplus > 0 {
            let closed = self.close_oldest(surplus);
            crowding.set_pending(self.count + engine.dispatch.ready_count());
            if lacking {
                crowding.answer(closed);
            }
        } else if lacking {
            crowding.answer(0);
        }
        if let Some(line) = self.dropped.line(crowding.limit, monotonic_micros()) {
            tracing::warn!("worker {}: {line}", engine.scoreboard.slot);
        }
    }

    /// Closes up to `count` waiting connections; returns the number of those closed.
    fn close_oldest(&mut self, count: usize) -> usize {
        let now = Instant::now();
        let mut candidates = self.candidates(now);
        let mut chosen = Vec::new();
        // one lock for the choice and the closing, so that a slot does not get another connection in between
        self.engine.close_some_idle(|idle| {
            candidates.extend(idle);
            chosen = crowding::choose(std::mem::take(&mut candidates), count);
            let idle = chosen.iter().filter_map(|candidate| match candidate.place {
                Place::Idle(token) => Some(token),
                Place::Entry(_) => None,
            });
            idle.collect()
        });
        for candidate in &chosen {
            self.dropped.count(candidate.wait);
            if let Place::Entry(index) = candidate.place
                && let Some(entry) = self.take_out(index)
            {
                self.drop_waiting(&entry, candidate.wait);
            }
        }
        chosen.len()
    }

    fn candidates(&self, now: Instant) -> Vec<Candidate> {
        let entries = self.entries.iter().enumerate();
        entries
            .filter_map(|(index, entry)| {
                let entry = entry.as_ref()?;
                let age = now.saturating_duration_since(entry.since);
                Some(Candidate {
                    wait: wait_of(&entry.pending),
                    age_us: u64::try_from(age.as_micros()).unwrap_or(u64::MAX),
                    place: Place::Entry(index),
                })
            })
            .collect()
    }

    /// Tells the client of a connection that is about to be closed what can be told.
    fn drop_waiting(&self, entry: &Entry, wait: Wait) {
        let fd = entry.pending.connection().raw_fd();
        match wait {
            Wait::Body => refusal::send_overloaded(fd),
            // nobody may take the part that was sent for the whole
            Wait::Response => stream::reset_on_close(fd),
            Wait::Close | Wait::Head | Wait::Next => {}
        }
        self.forget(&entry.pending);
    }
}

fn wait_of(pending: &Pending) -> Wait {
    match pending {
        Pending::Reading(incoming) if incoming.reader.in_body() => Wait::Body,
        Pending::Reading(_) => Wait::Head,
        Pending::Writing(_) => Wait::Response,
        Pending::Lingering(_) => Wait::Close,
    }
}
