//! HTTP connections between two requests, with their deadlines.

use super::connection::Connection;
use super::crowding::{Candidate, Place, Wait};

enum Slot {
    Free,
    /// The connection of the slot is being served. It is not stored in the slot meanwhile.
    Busy,
    /// The connection waits for its next request. The wait began at `since_us` and ends at `deadline_us` (monotonic
    /// clock).
    Idle {
        connection: Connection,
        since_us: u64,
        deadline_us: u64,
    },
}

/// The HTTP connections in the epoll, in slots. A connection keeps its slot while it is served, because the slot's
/// index is its token in the epoll.
#[derive(Default)]
pub struct KeepAlive {
    slots: Vec<Slot>,
    free: Vec<usize>,
    idle: usize,
}

impl KeepAlive {
    /// Number of idle connections.
    pub fn idle_count(&self) -> usize {
        self.idle
    }

    /// Takes an idle connection out of its slot, which stays reserved for it. `None` if the slot has no idle
    /// connection.
    pub fn take(&mut self, token: usize) -> Option<Connection> {
        let slot = self.slots.get_mut(token)?;
        match std::mem::replace(slot, Slot::Busy) {
            Slot::Idle { connection, .. } => {
                self.idle -= 1;
                Some(connection)
            }
            other => {
                *slot = other;
                None
            }
        }
    }

    /// Puts a connection into its slot, or into a free slot if it has none. Returns the slot's token.
    pub fn put(&mut self, mut connection: Connection, now_us: u64, deadline_us: u64) -> usize {
        let token = connection.token.or_else(|| self.free.pop());
        let token = token.unwrap_or_else(|| {
            self.slots.push(Slot::Free);
            self.slots.len() - 1
        });
        connection.token = Some(token);
        self.slots[token] = Slot::Idle {
            connection,
            since_us: now_us,
            deadline_us,
        };
        self.idle += 1;
        token
    }

    /// Frees a slot. If the slot has a connection, closes the connection.
    pub fn free(&mut self, token: usize) {
        if let Some(slot) = self.slots.get_mut(token) {
            if matches!(slot, Slot::Idle { .. }) {
                self.idle -= 1;
            }
            *slot = Slot::Free;
            self.free.push(token);
        }
    }

    /// The idle connections, as candidates for closing. A connection that has had no request counts as an incomplete
    /// head.
    pub fn candidates(&self, now_us: u64) -> Vec<Candidate> {
        let candidate = |(token, slot): (usize, &Slot)| match slot {
            Slot::Idle {
                connection,
                since_us,
                ..
            } => Some(Candidate {
                wait: match connection.served {
                    0 => Wait::Head,
                    _ => Wait::Next,
                },
                age_us: now_us.saturating_sub(*since_us),
                has_file: false,
                place: Place::Idle(token),
            }),
            Slot::Free | Slot::Busy => None,
        };
        self.slots
            .iter()
            .enumerate()
            .filter_map(candidate)
            .collect()
    }

    /// Shortens the deadlines of idle connections that are later than `limit_us` to `limit_us`.
    pub fn limit_deadlines(&mut self, limit_us: u64) {
        for slot in &mut self.slots {
            if let Slot::Idle { deadline_us, .. } = slot {
                *deadline_us = limit_us.min(*deadline_us);
            }
        }
    }

    /// Tokens of the idle connections whose deadline has passed at `now_us`.
    pub fn expired(&self, now_us: u64) -> Vec<usize> {
        let expired =
            |slot: &Slot| matches!(slot, Slot::Idle { deadline_us, .. } if *deadline_us <= now_us);
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, slot)| expired(slot))
            .map(|(token, _)| token)
            .collect()
    }
}
