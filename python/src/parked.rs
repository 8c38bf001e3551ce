//! Connections that wait for their peer, in the porter's care.

use std::os::fd::AsRawFd;

use ruwsgi::sys::stream::{self, Interest};

use crate::intake::{Connection, Intake};
use crate::outlet::Outlet;
use crate::worker::Arrival;

/// A connection that no thread should wait for.
pub enum Parked {
    /// Its request is not complete.
    Reading(Box<Arrival>),
    /// Its answer is not sent.
    Writing(Box<Departure>),
    /// It is answered; what the peer still sends is thrown away, so that it can read the answer.
    Lingering(Connection),
}

/// An answer on its way.
pub struct Departure {
    /// The connection.
    pub connection: Connection,
    /// What is left of the answer.
    pub outlet: Outlet,
    /// The connection takes another request after it.
    pub next: Option<Box<Intake>>,
}

impl Parked {
    /// An answer the peer is slow to take.
    pub fn writing(connection: Connection, outlet: Outlet, next: Option<Box<Intake>>) -> Self {
        Self::Writing(Box::new(Departure {
            connection,
            outlet,
            next,
        }))
    }

    /// A connection whose answer is sent and whose peer may be sending still.
    pub fn lingering(connection: Connection) -> Self {
        stream::shut_down_writing(connection.fd.as_raw_fd());
        Self::Lingering(connection)
    }

    /// Its connection.
    pub fn connection(&self) -> &Connection {
        match self {
            Self::Reading(arrival) => &arrival.connection,
            Self::Writing(departure) => &departure.connection,
            Self::Lingering(connection) => connection,
        }
    }

    /// What it waits for.
    pub fn interest(&self) -> Interest {
        match self {
            Self::Writing(_) => Interest::Write,
            Self::Reading(_) | Self::Lingering(_) => Interest::Read,
        }
    }
}
