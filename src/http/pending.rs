//! Connections whose client the I/O thread waits for, and the inbox through which this thread gets them.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::budget::{MEMORY, Share};
use super::connection::Connection;
use super::record::Record;
use super::request_reader::RequestReader;
use super::write_queue::WriteQueue;
use crate::sys::epoll::Interest;
use crate::sys::stream;
use crate::sys::wakeup::Wakeup;

/// Maximum number of bytes that one recv(2) reads in order to discard them.
const DISCARD: usize = 64 << 10;

/// A connection whose client the I/O thread waits for. No serving thread is occupied meanwhile.
pub enum Pending {
    /// The request is incomplete.
    Reading(Box<Incoming>),
    /// The response is not sent completely.
    Writing(Box<Outgoing>),
    /// The request is answered, and the socket is shut down for writing. Further input is read and discarded. Closing
    /// the connection at once would reset it, and the client might lose the response (RFC 9112, 9.6).
    Lingering(Draining),
    /// The response is incomplete, and closing the connection would look like the end of the body. The connection stays
    /// open until the client gives up.
    Held(Draining),
}

/// A request that is incomplete or that waits for a serving thread.
pub struct Incoming {
    /// The connection.
    pub connection: Connection,
    /// The request, as read so far.
    pub reader: RequestReader,
    /// The reader's share of the memory budget.
    share: Share,
}

impl Incoming {
    /// Creates a request that waits for its client or for a thread. Frees and counts memory as [`Incoming::settle`]
    /// does.
    pub fn new(connection: Connection, reader: RequestReader) -> Self {
        let mut incoming = Self {
            connection,
            reader,
            share: Share::of(&MEMORY),
        };
        incoming.settle();
        incoming
    }

    /// Frees the reader's unused memory before a wait, and counts the reader's remaining memory in the memory budget.
    pub fn settle(&mut self) {
        self.reader.shrink();
        self.share.set(self.reader.buffered() as u64);
    }
}

/// A response that the I/O thread sends.
pub struct Outgoing {
    /// The connection.
    pub connection: Connection,
    /// The bytes that are not sent yet.
    pub queue: WriteQueue,
    /// Bytes that were sent before the response came to the I/O thread.
    pub sent_before: u64,
    /// What follows the response.
    pub then: Then,
    /// Whether the client takes the end of the connection for the end of the body.
    pub ends_by_close: bool,
    /// The request, to be logged when the response has ended.
    pub record: Record,
}

/// What follows a response on its connection.
pub enum Then {
    /// The next request, which this reader reads.
    Keep(Box<RequestReader>),
    /// The connection is closed.
    Close,
    /// The connection is reset, because the application has left the body incomplete.
    Cut,
}

/// A connection whose bytes are read and discarded until the client closes it.
pub struct Draining {
    /// The connection.
    pub connection: Connection,
    /// Bytes that were discarded so far.
    pub discarded: u64,
}

impl Draining {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            discarded: 0,
        }
    }

    /// Reads and discards the input that has arrived. False if the client has closed the connection, or after an error.
    pub fn discard(&mut self, scratch: &mut Vec<u8>) -> bool {
        scratch.clear();
        match stream::recv_into(self.connection.raw_fd(), scratch, DISCARD) {
            Ok(count) => {
                self.discarded += count as u64;
                count > 0
            }
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

impl Pending {
    /// A connection whose response is sent and whose client may still be sending. Shuts the socket down for writing.
    pub fn lingering(connection: Connection) -> Self {
        stream::shut_down_writing(connection.raw_fd());
        Self::Lingering(Draining::new(connection))
    }

    /// Ends a connection whose response the server has cut, so that the client does not take the response for complete.
    /// Returns the connection if it must be held open.
    ///
    /// A TCP connection is reset. A Unix socket cannot be reset here, because the kernel does that only if unread bytes
    /// of the peer are left. Without a reset, and with `ends_by_close`, the client would take the body for complete.
    /// Such a connection is held open until the timeout of the web server, which then reports an error.
    pub fn cut(connection: Connection, ends_by_close: bool) -> Option<Self> {
        if ends_by_close && stream::is_unix(connection.raw_fd()) {
            return Some(Self::Held(Draining::new(connection)));
        }
        stream::reset_on_close(connection.raw_fd());
        None
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        match self {
            Self::Reading(incoming) => &incoming.connection,
            Self::Writing(outgoing) => &outgoing.connection,
            Self::Lingering(draining) | Self::Held(draining) => &draining.connection,
        }
    }

    /// The event that the connection waits for in the epoll.
    pub fn interest(&self) -> Interest {
        match self {
            Self::Writing(_) => Interest::Write,
            Self::Reading(_) | Self::Lingering(_) | Self::Held(_) => Interest::Read,
        }
    }

    /// Whether the connection waits for the rest of its request head.
    pub fn is_head(&self) -> bool {
        matches!(self, Self::Reading(incoming) if !incoming.reader.in_body())
    }

    /// Whether a stopping engine closes the connection at once: its request head is incomplete, or it is only held
    /// open.
    pub fn is_dropped_at_stop(&self) -> bool {
        self.is_head() || matches!(self, Self::Held(_))
    }
}

/// Hands connections to the I/O thread, and wakes this thread.
pub struct Inbox {
    connections: Mutex<Vec<Pending>>,
    /// Wakes the I/O thread.
    pub wakeup: Arc<Wakeup>,
    /// Number of connections in the inbox or the I/O thread whose request is incomplete.
    reading: AtomicUsize,
    /// Whether the I/O thread waits without a timeout.
    sleeps: AtomicBool,
}

impl Inbox {
    /// An empty inbox.
    ///
    /// # Errors
    /// The errors of eventfd(2).
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            connections: Mutex::default(),
            wakeup: Arc::new(Wakeup::new()?),
            reading: AtomicUsize::new(0),
            sleeps: AtomicBool::new(false),
        })
    }

    /// Hands a connection to the I/O thread and wakes this thread. Counts the connection if its request is incomplete.
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

    /// Counts a new connection with an incomplete request.
    pub fn begin_reading(&self) {
        self.reading.fetch_add(1, SeqCst);
    }

    /// Subtracts one connection from the number of connections with an incomplete request. Call it when the request is
    /// complete or the connection is closed.
    pub fn end_reading(&self) {
        self.reading.fetch_sub(1, SeqCst);
    }

    /// Takes all connections out of the inbox.
    pub fn take(&self) -> Vec<Pending> {
        std::mem::take(&mut *self.lock())
    }

    /// Whether no connection is in the inbox.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Announces that the I/O thread is about to wait without a timeout. Then calls `must_tick`, which tells whether
    /// there are deadlines to watch, and returns its result. If the result is true, the announcement is withdrawn.
    pub fn prepare_sleep(&self, must_tick: impl FnOnce() -> bool) -> bool {
        self.sleeps.store(true, SeqCst);
        let must = must_tick();
        if must {
            self.sleeps.store(false, SeqCst);
        }
        must
    }

    /// Wakes the I/O thread if it waits without a timeout. Call it when there is a new deadline to watch.
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
