//! The gate: where a serving thread, detached from the interpreter, waits for the next complete request.
//!
//! With one uwsgi listener it waits in `accept4` itself (the direct way: accept, receive, send, close are all the
//! system calls of a request). With several listeners, or HTTP, whose connections stay, the threads share an epoll.
//! Either way a peer that does not deliver at once goes to the porter, and comes back complete.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::PoisonError;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use ruwsgi::ipc::Protocol;
use ruwsgi::sys::stream::{self, Epoll, Interest};

use crate::intake::{Connection, Intake, Step};
use crate::parked::Parked;
use crate::refusal::Refusal;
use crate::thread::begin;
use crate::worker::{Arrival, Phase, Seat, Worker};

/// What a thread reads of one request by itself, bytes; a larger one is the porter's.
const BUDGET: usize = 2 << 20;
/// A peer whose request is on its way is waited for this long, all in all, as long as no other connection is parked:
/// a parked one is served by this worker only, which may be busy when it is complete.
const GRACE: Duration = Duration::from_millis(10);
/// The tokens of listeners begin here, those of connections are smaller.
const LISTENER: u64 = 1 << 32;

/// What the gate lets through.
pub enum Next {
    /// A complete request; it is in the gate's intake.
    Request(Connection),
    /// A signal came: Python's handlers may want to run.
    Interrupted,
    /// The worker is done.
    Retired,
}

/// A thread's place at the gate.
pub struct Gate<'w> {
    worker: &'w Worker,
    core: u32,
    seat: &'w Seat,
    /// The request being read or served.
    pub intake: Intake,
    scratch: Vec<u8>,
    events: Vec<u64>,
    /// A connection whose next request has been received already, in part at least.
    pipelined: Option<Connection>,
}

/// An epoll over the listeners.
///
/// # Errors
/// Those of epoll_create1(2) and epoll_ctl(2).
pub fn watch(ports: &[(RawFd, Protocol)]) -> io::Result<Epoll> {
    let epoll = Epoll::new()?;
    for (index, (fd, _)) in ports.iter().enumerate() {
        epoll.add(*fd, Interest::Accept, LISTENER + index as u64)?;
    }
    Ok(epoll)
}

impl<'w> Gate<'w> {
    /// For the thread with this number, which must be the caller.
    pub fn new(worker: &'w Worker, core: u32) -> Self {
        let seat = &worker.seats[core as usize];
        seat.tid.store(ruwsgi::sys::thread::id(), SeqCst);
        Self {
            worker,
            core,
            seat,
            intake: Intake::new(Protocol::Uwsgi),
            scratch: Vec::new(),
            events: Vec::new(),
            pipelined: None,
        }
    }

    /// The thread serves no more.
    pub fn leave(&self) {
        self.seat.gone.store(true, SeqCst);
        self.worker.bell.ring();
    }

    /// Gives the intake away, for a connection that has to wait with it.
    pub fn take_intake(&mut self) -> Intake {
        std::mem::replace(&mut self.intake, Intake::new(Protocol::Uwsgi))
    }

    /// Waits for the next request.
    pub fn next(&mut self) -> Next {
        loop {
            if let Some(connection) = self.pipelined.take() {
                self.intake.restart(connection.protocol, true);
                let step = self.intake.resume(&connection, &self.worker.spec.serving);
                if let Some(next) = self.take(connection, step) {
                    return next;
                }
                continue;
            }
            if let Some(arrival) = self.worker.take_ready() {
                self.intake = arrival.intake;
                return self.admit(arrival.connection);
            }
            let waited = match (self.worker.phase(), &self.worker.epoll) {
                (Phase::Held, _) => {
                    self.worker.wait_for_change(Phase::Held);
                    None
                }
                (Phase::Serving, None) => self.accept_directly(),
                (Phase::Serving, Some(epoll)) => self.poll(epoll, -1),
                (phase, epoll) => self.drain(phase, epoll.as_ref()),
            };
            if let Some(next) = waited {
                return next;
            }
        }
    }

    /// Leaving: only what was begun is served.
    fn drain(&mut self, phase: Phase, epoll: Option<&Epoll>) -> Option<Next> {
        let worker = self.worker;
        let idle = worker
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        if worker.reading.load(SeqCst) == 0
            && worker.ready_count.load(SeqCst) == 0
            && idle == 0
            && self.events.is_empty()
        {
            return Some(Next::Retired);
        }
        match epoll {
            Some(epoll) if idle > 0 || !self.events.is_empty() => return self.poll(epoll, 20),
            _ => worker.wait_for_change(phase),
        }
        None
    }

    fn admit(&mut self, connection: Connection) -> Next {
        begin(self.worker, self.core, &self.intake.request);
        Next::Request(connection)
    }

    /// Enters a system call that the porter may end by a signal; `false` if there is a reason not to.
    fn enter_wait(&self, phase: Phase) -> bool {
        self.seat.waiting.store(true, SeqCst);
        let go = self.worker.ready_count.load(SeqCst) == 0 && self.worker.phase() == phase;
        if !go {
            self.seat.waiting.store(false, SeqCst);
        }
        go
    }

    fn accept_directly(&mut self) -> Option<Next> {
        let (listener, protocol) = self.worker.ports[0];
        if !self.enter_wait(Phase::Serving) {
            return None;
        }
        let accepted = stream::accept(listener);
        self.seat.waiting.store(false, Relaxed);
        match accepted {
            Ok(fd) => {
                let connection = Connection {
                    fd,
                    listener: 0,
                    protocol,
                    peer: None,
                    local: None,
                    served: 0,
                    token: None,
                };
                self.receive(connection)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(Next::Interrupted),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // another generation, with other needs, has made the listener non-blocking
                self.seat.waiting.store(true, SeqCst);
                if self.worker.phase() == Phase::Serving
                    && self.worker.ready_count.load(SeqCst) == 0
                {
                    stream::wait_readable(listener, 1000);
                }
                self.seat.waiting.store(false, SeqCst);
                None
            }
            Err(error) => accept_failed(&error),
        }
    }

    fn poll(&mut self, epoll: &Epoll, timeout_ms: i32) -> Option<Next> {
        if self.events.is_empty() {
            if !self.enter_wait(self.worker.phase()) {
                return None;
            }
            let most = if self.worker.seats.len() == 1 { 64 } else { 1 };
            let result = epoll.wait(&mut self.events, most, timeout_ms);
            self.seat.waiting.store(false, Relaxed);
            if let Err(error) = result {
                return accept_failed(&error);
            }
            if self.events.is_empty() {
                return Some(Next::Interrupted);
            }
            self.events.reverse();
        }
        match self.events.pop()? {
            token if token >= LISTENER => self.accept_from((token - LISTENER) as usize),
            token => {
                let connection = self.worker.idle().take(token as usize)?;
                self.receive(connection)
            }
        }
    }

    fn accept_from(&mut self, index: usize) -> Option<Next> {
        match accept(self.worker, index)? {
            Ok(connection) => self.receive(connection),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(Next::Interrupted),
            Err(error) => accept_failed(&error),
        }
    }

    /// Reads a new request from a connection.
    fn receive(&mut self, connection: Connection) -> Option<Next> {
        let worker = self.worker;
        self.intake.restart(connection.protocol, false);
        let mut step =
            self.intake
                .read(&connection, &worker.spec.serving, &mut self.scratch, BUDGET);
        let mut deadline = None;
        while matches!(step, Step::More) && self.may_wait(&connection) {
            let now = Instant::now();
            let left = deadline
                .get_or_insert(now + GRACE)
                .saturating_duration_since(now);
            if left.is_zero()
                || !stream::wait_readable(connection.fd.as_raw_fd(), left.as_millis() as i32 + 1)
            {
                break;
            }
            step = self
                .intake
                .read(&connection, &worker.spec.serving, &mut self.scratch, BUDGET);
        }
        self.take(connection, step)
    }

    /// Nobody else is waiting, and the rest of the request may be on its way this very moment.
    fn may_wait(&self, connection: &Connection) -> bool {
        let idle_http = connection.protocol == Protocol::Http && self.intake.is_empty();
        !idle_http && !self.intake.is_large() && self.worker.reading.load(Relaxed) == 0
    }

    fn take(&mut self, connection: Connection, step: Step) -> Option<Next> {
        match step {
            Step::Complete => return Some(self.admit(connection)),
            Step::More if connection.protocol == Protocol::Http && self.intake.is_empty() => {
                self.keep(connection)
            }
            Step::More => {
                let mut intake = self.take_intake();
                intake.shrink();
                let connection = self.worker.unwatch(connection);
                self.worker
                    .park(Parked::Reading(Box::new(Arrival { connection, intake })));
            }
            Step::Refused(refusal) => {
                let connection = self.worker.unwatch(connection);
                refuse(self.worker, &connection, refusal);
                self.worker.park(Parked::lingering(connection));
            }
            Step::Gone(reason) => {
                let connection = self.worker.unwatch(connection);
                gone(&connection, reason);
            }
        }
        None
    }

    /// Keeps an HTTP connection for its next request.
    pub fn keep(&mut self, connection: Connection) {
        if self.intake.has_pipelined() {
            self.pipelined = Some(connection);
        } else {
            self.worker.keep(connection);
        }
    }
}

/// Accepts a connection at the listener with this number; `None` if the worker has let go of it.
///
/// # Errors
/// Those of accept4(2).
pub fn accept(worker: &Worker, index: usize) -> Option<io::Result<Connection>> {
    let protocol = worker.ports.get(index)?.1;
    let accepted = {
        let listeners = worker
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        stream::accept_from(listeners.get(index)?.as_raw_fd())
    };
    Some(accepted.map(|(fd, peer)| {
        let mut local = None;
        if protocol == Protocol::Http && peer.is_some() {
            stream::send_at_once(fd.as_raw_fd());
            local = stream::local_address(fd.as_fd());
        }
        Connection {
            fd,
            listener: index,
            protocol,
            peer,
            local,
            served: 0,
            token: None,
        }
    }))
}

/// Accepts the connections that the kernel may have announced to this worker and to no other, for the porter; call when it leaves because the
/// master wants it to, and its epoll has no listeners any more.
///
/// Of those that share a listener in an epoll the kernel wakes one, and that one may see that it is to leave before it
/// accepts: whoever else could accept would sleep on until the next connection. Where a thread waits in accept4 itself, it
/// comes back with what it was woken for. A worker that leaves on its own account is replaced by one that looks for what
/// waits.
pub fn take_announced(worker: &Worker) {
    if worker.epoll.is_none() {
        return;
    }
    for index in 0..worker.ports.len() {
        for _ in &worker.seats {
            // if it fails, it is not because of this worker, and the others hear of it
            let Some(Ok(connection)) = accept(worker, index) else {
                break;
            };
            let intake = Intake::new(connection.protocol);
            let arrival = Box::new(Arrival { connection, intake });
            worker.park(Parked::Reading(arrival));
        }
    }
}

/// A connection could not be accepted. Most reasons pass; none may make the worker spin.
fn accept_failed(error: &io::Error) -> Option<Next> {
    match error.raw_os_error() {
        // the peer was gone before it was accepted, or the network had an error to tell about it (accept(2))
        Some(
            libc::ECONNABORTED | libc::EPROTO | libc::EPERM | libc::ENETDOWN | libc::ENOPROTOOPT,
        ) => {}
        _ => {
            tracing::error!("cannot accept a connection: {error}; trying again in 0.1 s");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    None
}

/// Answers a request in the application's stead, and says so in the log.
pub fn refuse(worker: &Worker, connection: &Connection, refusal: Refusal) {
    if let Some(row) = worker.board.worker(worker.row) {
        row.refused.fetch_add(1, Relaxed);
    }
    if let Some(sentence) = refusal.log
        && refusal.once.is_none_or(|key| worker.says_first(key))
    {
        tracing::warn!("{}: {sentence}", connection.who(worker));
    }
    if !refusal.answer.is_empty() {
        // short enough for any socket's buffer; a peer that is gone needs no answer
        let _ = stream::send(
            connection.fd.as_raw_fd(),
            &[io::IoSlice::new(&refusal.answer)],
        );
    }
}

/// A peer left; one line if it was in the middle of something.
pub fn gone(connection: &Connection, reason: Option<&'static str>) {
    if let Some(reason) = reason {
        tracing::info!("{}: dropped a connection: {reason}", connection.peer_name());
    }
}
