//! HTTP connections between two requests.

use std::os::fd::AsRawFd;
use std::sync::{MutexGuard, PoisonError};

use ruwsgi::sys::clock::monotonic_micros;
use ruwsgi::sys::stream::Interest;

use crate::intake::Connection;
use crate::worker::Worker;

/// A place: its connection is here, or out being served, or the place is free.
enum Place {
    Free,
    Out,
    Here {
        connection: Connection,
        deadline_us: u64,
    },
}

/// The connections, by token.
#[derive(Default)]
pub struct Idle {
    places: Vec<Place>,
    free: Vec<usize>,
    here: usize,
}

impl Idle {
    /// How many wait here.
    pub fn len(&self) -> usize {
        self.here
    }

    /// Takes the connection of an event; `None` if it has gone meanwhile.
    pub fn take(&mut self, token: usize) -> Option<Connection> {
        let place = self.places.get_mut(token)?;
        match std::mem::replace(place, Place::Out) {
            Place::Here { connection, .. } => {
                self.here -= 1;
                Some(connection)
            }
            other => {
                *place = other;
                None
            }
        }
    }

    fn put(&mut self, token: Option<usize>, mut connection: Connection, deadline_us: u64) -> usize {
        let token = token.or_else(|| self.free.pop()).unwrap_or_else(|| {
            self.places.push(Place::Free);
            self.places.len() - 1
        });
        connection.token = Some(token);
        self.places[token] = Place::Here {
            connection,
            deadline_us,
        };
        self.here += 1;
        token
    }

    fn forget(&mut self, token: usize) {
        if let Some(place) = self.places.get_mut(token) {
            if matches!(place, Place::Here { .. }) {
                self.here -= 1;
            }
            *place = Place::Free;
            self.free.push(token);
        }
    }

    /// Tokens of those whose time is over at `now_us`.
    pub fn expired(&self, now_us: u64) -> Vec<usize> {
        let over = |place: &Place| matches!(place, Place::Here { deadline_us, .. } if *deadline_us <= now_us);
        self.places
            .iter()
            .enumerate()
            .filter(|(_, place)| over(place))
            .map(|(token, _)| token)
            .collect()
    }
}

impl Worker {
    /// The idle connections.
    pub fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a connection until its next request comes.
    pub fn keep(&self, connection: Connection) {
        let Some(epoll) = &self.epoll else { return };
        let serving = &self.spec.serving;
        let time_ms = if connection.served == 0 {
            serving.socket_timeout_ms
        } else {
            serving.http_keepalive_ms
        };
        let deadline_us = monotonic_micros() + time_ms * 1000;
        let (fd, token) = (connection.fd.as_raw_fd(), connection.token);
        // threads that share the epoll must not be told of the same bytes
        let interest = if self.seats.len() == 1 {
            Interest::Read
        } else {
            Interest::ReadOnce
        };
        // held until the event is armed: it may fire at once
        let mut idle = self.idle();
        let at = idle.put(token, connection, deadline_us);
        let armed = match token {
            None => epoll.add(fd, interest, at as u64),
            Some(_) if self.seats.len() > 1 => epoll.change(fd, interest, at as u64),
            Some(_) => Ok(()),
        };
        if let Err(error) = armed {
            tracing::error!("cannot wait for a connection's next request: {error}");
            idle.take(at);
            idle.forget(at);
        }
        drop(idle);
        self.wake_sleeping_porter();
    }

    /// Takes a connection out of the epoll, before it is closed or goes to the porter. (Closing alone does not do
    /// it where the application has forked and its child holds the socket too.)
    pub fn unwatch(&self, mut connection: Connection) -> Connection {
        if let (Some(token), Some(epoll)) = (connection.token.take(), &self.epoll) {
            epoll.remove(connection.fd.as_raw_fd());
            self.idle().forget(token);
        }
        connection
    }

    /// Closes the idle connections whose time is over at `now_us`.
    pub fn close_idle(&self, now_us: u64) {
        let mut idle = self.idle();
        for token in idle.expired(now_us) {
            if let (Some(connection), Some(epoll)) = (idle.take(token), &self.epoll) {
                epoll.remove(connection.fd.as_raw_fd());
                idle.forget(token);
            }
        }
    }
}
