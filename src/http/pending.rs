//! Connections that wait for their client in the I/O thread, and their way there.

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

/// Bytes of one recv(2) whose content is discarded.
const DISCARD: usize = 64 << 10;

/// A connection that no serving thread waits for.
pub enum Pending {
    /// Its request is incomplete.
    Reading(Box<Incoming>),
    /// Its response is not sent.
    Writing(Box<Outgoing>),
    /// It is answered and shut down for writing. What the client still sends is discarded: closing at once would reset
    /// the connection, and the client might lose the response (RFC 9112, 9.6).
    Lingering(Draining),
    /// Its response is incomplete, and closing it would look like the end of the body. It stays open until the client
    /// loses patience.
    Held(Draining),
}

/// A request that is being read, or waits for a serving thread.
pub struct Incoming {
    /// The connection.
    pub connection: Connection,
    /// The request, as far as it has been read.
    pub reader: RequestReader,
    /// The memory of the reader.
    share: Share,
}

impl Incoming {
    /// A request that waits for its client or for a thread.
    pub fn new(connection: Connection, reader: RequestReader) -> Self {
        let mut incoming = Self {
            connection,
            reader,
            share: Share::of(&MEMORY),
        };
        incoming.settle();
        incoming
    }

    /// Frees unused memory before a wait, and counts the rest.
    pub fn settle(&mut self) {
        self.reader.shrink();
        self.share.set(self.reader.buffered() as u64);
    }
}

/// A response that is being sent.
pub struct Outgoing {
    /// The connection.
    pub connection: Connection,
    /// The bytes that are not sent.
    pub queue: WriteQueue,
    /// Bytes that were sent before it came here.
    pub sent_before: u64,
    /// What follows the response.
    pub then: Then,
    /// Whether the client takes the end of the connection for the end of the body.
    pub ends_by_close: bool,
    /// The request, which is logged when the response has ended.
    pub record: Record,
}

/// What follows a response on its connection.
pub enum Then {
    /// The next request, for this reader.
    Keep(Box<RequestReader>),
    /// The end of the connection.
    Close,
    /// The end of the connection, because the application has left the body incomplete.
    Cut,
}

/// A connection whose bytes are read and discarded until the client closes it.
pub struct Draining {
    /// The connection.
    pub connection: Connection,
    /// Bytes discarded.
    pub discarded: u64,
}

impl Draining {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            discarded: 0,
        }
    }

    /// Reads and discards what has arrived; false if the client has closed the connection.
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
    /// A connection whose response is sent and whose client may still be sending.
    pub fn lingering(connection: Connection) -> Self {
        stream::shut_down_writing(connection.raw_fd());
        Self::Lingering(Draining::new(connection))
    }

    /// Ends a connection whose response the server has cut, so that the client does not take it for complete.
    ///
    /// A TCP connection is reset. The kernel resets a Unix socket only if it is closed with unread bytes of the peer, which
    /// has sent none; a plain close looks like the end of a body that `ends_by_close`. Such a connection is held open until
    /// the timeout of the web server, which reports an error then.
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

    /// The event it waits for.
    pub fn interest(&self) -> Interest {
        match self {
            Self::Writing(_) => Interest::Write,
            Self::Reading(_) | Self::Lingering(_) | Self::Held(_) => Interest::Read,
        }
    }

    /// Whether its request head is incomplete.
    pub fn is_head(&self) -> bool {
        matches!(self, Self::Reading(incoming) if !incoming.reader.in_body())
    }

    /// Whether an engine that stops closes the connection at once: its request head is incomplete, or it is only held open.
    pub fn is_dropped_at_stop(&self) -> bool {
        self.is_head() || matches!(self, Self::Held(_))
    }
}

/// Hands connections to the I/O thread and wakes it.
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
    /// Those of eventfd(2).
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            connections: Mutex::default(),
            wakeup: Arc::new(Wakeup::new()?),
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
