//! Connections that wait for their client in the I/O thread, and their way there.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::connection::Connection;
use super::request_reader::RequestReader;
use super::settings::Timeouts;
use super::write_queue::WriteQueue;
use crate::sys::epoll::Interest;
use crate::sys::stream;
use crate::sys::wakeup::Wakeup;

/// A connection that no serving thread waits for.
pub enum Pending {
    /// Its request is incomplete.
    Reading(Box<Incoming>),
    /// Its response is not sent.
    Writing(Box<Outgoing>),
    /// It is answered and shut down for writing. What the client still sends is discarded: closing at once would reset
    /// the connection, and the client might lose the response (RFC 9112, 9.6).
    Lingering(Connection),
}

/// A request that is being read, or waits for a serving thread.
pub struct Incoming {
    /// The connection.
    pub connection: Connection,
    /// The request, as far as it has been read.
    pub reader: RequestReader,
}

/// A response that is being sent.
pub struct Outgoing {
    /// The connection.
    pub connection: Connection,
    /// The bytes that are not sent.
    pub queue: WriteQueue,
    /// The reader for the next request, if the connection is kept open.
    pub next: Option<Box<RequestReader>>,
}

impl Pending {
    /// A response that the client is slow to take.
    pub fn writing(
        connection: Connection,
        queue: WriteQueue,
        next: Option<Box<RequestReader>>,
    ) -> Self {
        Self::Writing(Box::new(Outgoing {
            connection,
            queue,
            next,
        }))
    }

    /// A connection whose response is sent and whose client may still be sending.
    pub fn lingering(connection: Connection) -> Self {
        stream::shut_down_writing(connection.raw_fd());
        Self::Lingering(connection)
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        match self {
            Self::Reading(incoming) => &incoming.connection,
            Self::Writing(outgoing) => &outgoing.connection,
            Self::Lingering(connection) => connection,
        }
    }

    /// The longest time without progress.
    pub fn timeout(&self, timeouts: &Timeouts) -> Duration {
        match self {
            Self::Writing(_) => timeouts.send,
            Self::Reading(_) | Self::Lingering(_) => timeouts.socket,
        }
    }

    /// The event it waits for.
    pub fn interest(&self) -> Interest {
        match self {
            Self::Writing(_) => Interest::Write,
            Self::Reading(_) | Self::Lingering(_) => Interest::Read,
        }
    }
}

/// Hands connections to the I/O thread and wakes it.
pub struct Inbox {
    connections: Mutex<Vec<Pending>>,
    /// Wakes the I/O thread.
    pub wakeup: Wakeup,
    /// Number of connections in the inbox or the I/O thread whose request is incomplete.
    reading: AtomicUsize,
    /// Whether the I/O thread waits without a timeout.
    sleeps: AtomicBool,
}

impl Inbox {
    /// An empty inbox.
    ///
    /// # Errors
    /// Those of eventfd(2).
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            connections: Mutex::default(),
            wakeup: Wakeup::new()?,
            reading: AtomicUsize::new(0),
            sleeps: AtomicBool::new(false),
        })
    }

    /// Hands over a connection.
    pub fn push(&self, pending: Pending) {
        if matches!(pending, Pending::Reading(_)) {
            self.begin_reading();
        }
        self.lock().push(pending);
        self.wakeup.wake();
    }

    /// Number of connections in the inbox or the I/O thread whose request is incomplete.
    #[inline]
    pub fn reading_count(&self) -> usize {
        self.reading.load(SeqCst)
    }

    /// Counts a connection whose request is incomplete.
    pub fn begin_reading(&self) {
        self.reading.fetch_add(1, SeqCst);
    }

    /// The request is complete, or its connection is closed.
    pub fn end_reading(&self) {
        self.reading.fetch_sub(1, SeqCst);
    }

    /// Takes all connections out.
    pub fn take(&self) -> Vec<Pending> {
        std::mem::take(&mut *self.lock())
    }

    /// Whether no connection waits for the I/O thread.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Announces that the I/O thread waits without a timeout, and then asks `must_tick` whether there are deadlines to
    /// watch. Returns the result; after true nothing is announced.
    pub fn prepare_sleep(&self, must_tick: impl FnOnce() -> bool) -> bool {
        self.sleeps.store(true, SeqCst);
        let must = must_tick();
        if must {
            self.sleeps.store(false, SeqCst);
        }
        must
    }

    /// Wakes the I/O thread if it waits without a timeout, because there is a deadline to watch now.
    pub fn wake_if_sleeping(&self) {
        if self.sleeps.swap(false, SeqCst) {
            self.wakeup.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Pending>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
