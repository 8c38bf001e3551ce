//! The acceptor of a serving thread: the place where the thread waits for its next complete request.
//!
//! With a single uwsgi listener the thread waits in accept4(2), and a request costs four system calls (accept4, recv,
//! send and close). With several listeners, or with HTTP connections, which stay open, the threads share an epoll. In
//! both cases the I/O thread gets a connection whose client does not send its request at once. The complete request
//! comes back through the dispatch queue.

use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::connection::Connection;
use super::dispatch::{Phase, Ready};
use super::engine::Engine;
use super::listeners::Listeners;
use super::lost_descriptors;
use super::pending::{Incoming, Pending};
use super::request_reader::{RequestReader, Step};
use super::thread_state::ThreadState;
use crate::ipc::Protocol;
use crate::sys::clock::monotonic_micros;
use crate::sys::epoll::Epoll;
use crate::sys::stream;

/// Maximum bytes of one request that a serving thread reads. The I/O thread reads the rest of a longer request.
const BUDGET: usize = 2 << 20;
/// Maximum total time that a serving thread waits for the rest of a request. Such a short wait costs less than the way
/// through the I/O thread and back.
const GRACE: Duration = Duration::from_millis(10);

/// What a serving thread does next.
pub enum Next {
    /// A complete request is in [`Acceptor::reader`].
    Request(Connection),
    /// The application must be called without a request.
    Called,
    /// A signal has ended the wait, or the wait has timed out while the engine leaves.
    Interrupted,
    /// The engine has retired: it accepts no more connections, and no request and no idle connection is left.
    Retired,
}

/// The part of a serving thread that waits for requests.
pub struct Acceptor<'e> {
    engine: &'e Engine,
    thread: u32,
    state: &'e ThreadState,
    /// The request that is being read or served.
    pub reader: RequestReader,
    scratch: Vec<u8>,
    /// Tokens of epoll events that are not handled yet.
    events: Vec<u64>,
    /// A connection on which bytes of the next request arrived while the last request was served.
    pipelined: Option<Connection>,
    /// Whether the last request was a pipelined request or came from the dispatch queue. A connection in the epoll is
    /// then served before another such request, so that no client starves.
    owes_turn: bool,
}

impl<'e> Acceptor<'e> {
    /// Creates the acceptor of the calling thread, which is number `thread` of the engine. `None` if the engine has no
    /// such thread.
    pub fn new(engine: &'e Engine, thread: u32) -> Option<Self> {
        let state = engine.threads.get(thread as usize)?;
        state.begin();
        Some(Self {
            engine,
            thread,
            state,
            reader: RequestReader::new(Protocol::Uwsgi),
            scratch: Vec::new(),
            events: Vec::new(),
            pipelined: None,
            owes_turn: false,
        })
    }

    /// Takes the reader for a connection that has to wait, and leaves an empty reader.
    pub fn take_reader(&mut self) -> RequestReader {
        std::mem::replace(&mut self.reader, RequestReader::new(Protocol::Uwsgi))
    }

    /// Waits for the next request.
    pub fn next_request(&mut self) -> Next {
        loop {
            if std::mem::take(&mut self.owes_turn)
                && let Some(next) = self.serve_epoll()
            {
                return next;
            }
            if let Some(connection) = self.pipelined.take() {
                self.owes_turn = true;
                let step = self.resume(&connection);
                if let Some(next) = self.conclude(connection, step) {
                    return next;
                }
                continue;
            }
            if let Some(ready) = self.engine.dispatch.pop() {
                self.owes_turn = true;
                match ready {
                    Ready::Request(incoming) => {
                        self.reader = incoming.reader;
                        return self.admit(incoming.connection);
                    }
                    Ready::Call => return Next::Called,
                }
            }
            let waited = match (self.engine.phase(), &self.engine.listeners.epoll) {
                (Phase::Held, _) => {
                    self.engine.dispatch.wait_for_change(Phase::Held);
                    None
                }
                (Phase::Serving, None) => self.wait_in_accept(),
                (Phase::Serving, Some(epoll)) => self.wait_in_epoll(epoll, -1),
                (phase, epoll) => self.drain(phase, epoll.as_ref()),
            };
            if let Some(next) = waited {
                return next;
            }
        }
    }

    /// Parses the bytes of the next request that have arrived on a connection.
    fn resume(&mut self, connection: &Connection) -> Step {
        self.reader.restart_pipelined(connection.protocol);
        let limits = &self.engine.settings.limits;
        self.reader.resume(connection, limits)
    }

    /// Handles one event of the epoll, without waiting. If there is an event, a complete pipelined request first goes
    /// to the dispatch queue, so that a client with many pipelined requests does not delay all other clients.
    fn serve_epoll(&mut self) -> Option<Next> {
        let epoll = self.engine.listeners.epoll.as_ref()?;
        if self.engine.phase() != Phase::Serving {
            return None;
        }
        if self.events.is_empty() {
            self.fetch_events(epoll, 0).ok()?;
        }
        let token = self.events.pop()?;
        if let Some(connection) = self.pipelined.take() {
            match self.resume(&connection) {
                Step::Complete => {
                    let connection = self.engine.unwatch(connection);
                    let incoming = Incoming::new(connection, self.take_reader());
                    self.engine.dispatch.push(Box::new(incoming));
                }
                step => drop(self.conclude(connection, step)),
            }
        }
        self.handle(token)
    }

    /// Waits for the requests that have begun. Call it when the engine accepts no more connections. Closes expired idle
    /// connections. Returns [`Next::Retired`] if no request and no idle connection is left.
    fn drain(&mut self, phase: Phase, epoll: Option<&Epoll>) -> Option<Next> {
        let engine = self.engine;
        let reading = engine.inbox.reading_count();
        // the I/O thread closes idle connections, too, but only four times a second
        engine.close_idle(monotonic_micros());
        let idle = engine.idle_count();
        let has_events = !self.events.is_empty();
        if reading == 0 && engine.dispatch.ready_count() == 0 && idle == 0 && !has_events {
            return Some(Next::Retired);
        }
        match epoll {
            Some(epoll) if idle > 0 || has_events => return self.wait_in_epoll(epoll, 20),
            _ => engine.dispatch.wait_for_change(phase),
        }
        None
    }

    #[inline]
    fn admit(&mut self, connection: Connection) -> Next {
        self.engine
            .scoreboard
            .begin(self.thread, &self.reader.request);
        Next::Request(connection)
    }

    /// Announces a system call that the I/O thread may end by a signal. Returns false if a request is ready or the
    /// current phase is not `phase`; the caller must not wait then.
    #[inline]
    fn enter_wait(&self, phase: Phase) -> bool {
        let dispatch = &self.engine.dispatch;
        self.state
            .enter_wait(|| dispatch.ready_count() == 0 && dispatch.phase() == phase)
    }

    #[inline]
    fn wait_in_accept(&mut self) -> Option<Next> {
        let (listener, protocol) = self.engine.listeners.single()?;
        if !self.enter_wait(Phase::Serving) {
            return None;
        }
        let accepted = stream::accept(listener);
        self.state.leave_wait();
        match accepted {
            Ok(fd) => self.receive(Connection::new(fd, 0, protocol)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(Next::Interrupted),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.wait_for_nonblocking(listener);
                None
            }
            Err(error) => self.accept_failed(&error),
        }
    }

    /// Waits at most 1 s for a connection at a listener that is non-blocking. A generation that uses an epoll shares
    /// the listener, and has made it non-blocking.
    fn wait_for_nonblocking(&self, listener: RawFd) {
        if self.enter_wait(Phase::Serving) {
            stream::wait_readable(listener, 1000);
            self.state.leave_wait();
        }
    }

    fn wait_in_epoll(&mut self, epoll: &Epoll, timeout_ms: i32) -> Option<Next> {
        if self.events.is_empty() {
            if !self.enter_wait(self.engine.phase()) {
                return None;
            }
            let result = self.fetch_events(epoll, timeout_ms);
            self.state.leave_wait();
            if let Err(error) = result {
                return self.accept_failed(&error);
            }
            if self.events.is_empty() {
                return Some(Next::Interrupted);
            }
        }
        let token = self.events.pop()?;
        self.handle(token)
    }

    /// Fetches events of the epoll into `events`. The first event comes last, because events are popped from the end.
    fn fetch_events(&mut self, epoll: &Epoll, timeout_ms: i32) -> io::Result<()> {
        // if one of several threads fetches an event, the other threads do not see the event
        let most = if self.engine.threads.len() == 1 {
            64
        } else {
            1
        };
        epoll.wait(&mut self.events, most, timeout_ms)?;
        self.events.reverse();
        Ok(())
    }

    fn handle(&mut self, token: u64) -> Option<Next> {
        match Listeners::index_of(token) {
            Some(index) => self.accept_from(index),
            None => {
                let connection = self.engine.take_idle(token)?;
                self.receive(connection)
            }
        }
    }

    fn accept_from(&mut self, index: usize) -> Option<Next> {
        match self.engine.listeners.accept(index)? {
            Ok(connection) => self.receive(connection),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(Next::Interrupted),
            Err(error) => self.accept_failed(&error),
        }
    }

    /// Reads a request from its beginning. Waits for the rest for at most `GRACE`, as long as `may_wait` is true.
    #[inline]
    fn receive(&mut self, connection: Connection) -> Option<Next> {
        let limits = &self.engine.settings.limits;
        self.reader.restart(connection.protocol);
        let mut step = self
            .reader
            .read(&connection, limits, &mut self.scratch, BUDGET);
        let mut deadline = None;
        while matches!(step, Step::More) && self.may_wait(&connection) {
            let now = Instant::now();
            let left = deadline
                .get_or_insert(now + GRACE)
                .saturating_duration_since(now);
            if left.is_zero()
                || !stream::wait_readable(connection.raw_fd(), left.as_millis() as i32 + 1)
            {
                break;
            }
            step = self
                .reader
                .read(&connection, limits, &mut self.scratch, BUDGET);
        }
        self.conclude(connection, step)
    }

    /// Whether this thread waits up to [`GRACE`] for the rest of the request. False for an idle HTTP connection, for a
    /// body that goes to a file, and while the I/O thread reads other requests.
    fn may_wait(&self, connection: &Connection) -> bool {
        let idle_http = connection.protocol == Protocol::Http && self.reader.is_empty();
        !idle_http && !self.reader.is_large() && self.engine.inbox.reading_count() == 0
    }

    /// Decides what follows a read. A complete request is returned, an idle HTTP connection goes to the epoll, and an
    /// incomplete or refused request goes to the I/O thread. If the client is gone, the connection is closed.
    #[inline]
    fn conclude(&mut self, connection: Connection, step: Step) -> Option<Next> {
        match step {
            Step::Complete => return Some(self.admit(connection)),
            Step::More if connection.protocol == Protocol::Http && self.reader.is_empty() => {
                self.engine.keep(connection);
            }
            Step::More => {
                let reader = self.take_reader();
                let connection = self.engine.unwatch(connection);
                let incoming = Box::new(Incoming::new(connection, reader));
                self.engine.inbox.push(Pending::Reading(incoming));
            }
            Step::Refused(refusal) => {
                let connection = self.engine.unwatch(connection);
                self.engine.refuse(&connection, refusal);
                self.engine.inbox.push(Pending::lingering(connection));
            }
            Step::Gone(reason) => self.engine.unwatch(connection).log_dropped(reason),
        }
        None
    }

    /// Keeps an HTTP connection for its next request, after its response is sent.
    pub fn keep(&mut self, connection: Connection) {
        if self.reader.has_pipelined() {
            self.pipelined = Some(connection);
        } else {
            self.engine.keep(connection);
        }
    }

    /// Handles an error of accept4(2) or epoll_wait(2). Errors of a single connection are ignored. If descriptors or
    /// memory are short, asks the I/O thread to close a waiting connection. If no connection can be closed, and after
    /// any other error, logs the reason and pauses 0.1 s. Most errors pass, and without the pause the thread would
    /// spin.
    #[cold]
    fn accept_failed(&self, error: &io::Error) -> Option<Next> {
        let crowding = &self.engine.crowding;
        let errno = error.raw_os_error().map(Errno::from_raw);
        let short = match errno {
            // the client left before it was accepted, or the network reports an earlier error (accept(2))
            Some(
                Errno::ECONNABORTED
                | Errno::EPROTO
                | Errno::EPERM
                | Errno::ENETDOWN
                | Errno::ENOPROTOOPT,
            ) => return None,
            Some(Errno::EBADF | Errno::ENOTSOCK) => lost_descriptors::end_process(error),
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => true,
            _ => false,
        };
        if short && crowding.make_room(&self.engine.inbox) {
            return None;
        }
        if crowding.is_log_due() {
            let hint = match errno {
                Some(Errno::EMFILE) => {
                    " (max-fd limits the descriptors; the application may keep too many open)"
                }
                _ => "",
            };
            tracing::error!("cannot accept a connection: {error}{hint}; trying again every 0.1 s");
        }
        std::thread::sleep(Duration::from_millis(100));
        None
    }
}
