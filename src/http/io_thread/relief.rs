//! Closes waiting connections in the I/O thread when descriptors, memory or room in files are short.

use std::time::Instant;

use super::{Control, IoThread};
use crate::http::budget::{FILES, MEMORY};
use crate::http::crowding::{self, Candidate, Place, Wait};
use crate::http::loss::Loss;
use crate::http::pending::Pending;
use crate::http::refusal;
use crate::sys::clock::monotonic_micros;

impl<C: Control> IoThread<C> {
    /// Closes connections that wait for their client: if there are more than `limit-connections`, if a thread has found
    /// no free descriptor, or if their data exceeds `limit-buffers` or `limit-spool`. Logs how many were closed.
    pub(super) fn relieve(&mut self) {
        let engine = self.engine.clone();
        let crowding = &engine.crowding;
        // each temporary file needs a descriptor too
        let pending = self.count + engine.dispatch.ready_count() + FILES.holders();
        crowding.set_pending(pending);
        let lacking = crowding.take_lacking();
        let surplus = crowding::surplus(pending + engine.idle_count(), crowding.limit, lacking);
        if MEMORY.is_exceeded() {
            let count = (self.count / 64).max(1);
            self.close_oldest(count, holds_memory);
        }
        if FILES.take_short() {
            let count = (self.count / 64).max(1);
            self.close_oldest(count, |candidate| candidate.has_file);
        }
        if surplus > 0 {
            let closed = self.close_oldest(surplus, |_| true);
            crowding.set_pending(self.count + engine.dispatch.ready_count() + FILES.holders());
            if lacking {
                crowding.answer(closed);
            }
        } else if lacking {
            crowding.answer(0);
        }
        if let Some(line) = self.dropped.line(crowding.limit, monotonic_micros()) {
            tracing::warn!("{line}");
        }
    }

    /// Closes up to `count` waiting connections for which `eligible` is true. Returns the number of closed connections.
    fn close_oldest(&mut self, count: usize, eligible: impl Fn(&Candidate) -> bool) -> usize {
        let now = Instant::now();
        let mut candidates = self.candidates(now);
        let mut chosen = Vec::new();
        // the lock is held for the choice and the closing, so that a chosen slot does not get another connection in
        // between
        self.engine.close_some_idle(|idle| {
            candidates.extend(idle);
            candidates.retain(&eligible);
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
                self.drop_waiting(entry.pending);
            }
        }
        chosen.len()
    }

    fn candidates(&self, now: Instant) -> Vec<Candidate> {
        let entries = self.entries.iter().enumerate();
        entries
            .filter_map(|(index, entry)| {
                let entry = entry.as_ref()?;
                let age = entry.age(now);
                Some(Candidate {
                    wait: wait_of(&entry.pending),
                    age_us: u64::try_from(age.as_micros()).unwrap_or(u64::MAX),
                    has_file: has_file(&entry.pending),
                    place: Place::Entry(index),
                })
            })
            .collect()
    }

    /// Closes a connection. A response ends with [`Loss::Crowded`]. A client that is sending its request body gets
    /// status 503.
    fn drop_waiting(&mut self, pending: Pending) {
        match pending {
            Pending::Writing(outgoing) => self.conclude_writing(*outgoing, Some(Loss::Crowded)),
            pending => {
                if wait_of(&pending) == Wait::Body {
                    refusal::send_overloaded(pending.connection().raw_fd());
                }
                self.forget(&pending);
            }
        }
    }
}

/// Whether closing `candidate` frees memory.
fn holds_memory(candidate: &Candidate) -> bool {
    let holds = matches!(candidate.wait, Wait::Head | Wait::Body | Wait::Response);
    holds && matches!(candidate.place, Place::Entry(_))
}

/// Whether the connection has a temporary file. The close of the connection frees the room of the file.
fn has_file(pending: &Pending) -> bool {
    match pending {
        Pending::Reading(incoming) => incoming.reader.is_large(),
        Pending::Writing(outgoing) => outgoing.queue.has_file(),
        Pending::Lingering(_) | Pending::Held(_) => false,
    }
}

fn wait_of(pending: &Pending) -> Wait {
    match pending {
        Pending::Reading(incoming) if incoming.reader.in_body() => Wait::Body,
        Pending::Reading(_) => Wait::Head,
        Pending::Writing(_) => Wait::Response,
        Pending::Lingering(_) => Wait::Close,
        // if the connection were closed, the sent part of the response could look complete
        Pending::Held(_) => Wait::Response,
    }
}
