//! The I/O thread. It reads the requests of slow clients, sends responses to clients that are slow to take them, and
//! closes idle connections. It also receives the commands of the engine's owner. It never runs application code.

mod endings;
mod relief;

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::connection::Connection;
use super::crowding::Dropped;
use super::dispatch::Phase;
use super::engine::Engine;
use super::loss::Loss;
use super::lost_descriptors;
use super::pending::{Incoming, Pending};
use super::request_reader::{RequestReader, Step};
use super::waiting::Waiting;
use super::write_queue::Flow;
use crate::log::request_log::RequestLog;
use crate::sys::clock::monotonic_micros;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::process::Pid;
use crate::sys::thread;

/// Signal that ends the system call in which a serving thread waits. The default action of SIGURG is to ignore it, so a
/// late signal has no effect.
pub const INTERRUPT: i32 = Signal::SIGURG as i32;

const CONTROL: u64 = u64::MAX;
const WAKEUP: u64 = u64::MAX - 1;
/// Interval between two checks of deadlines.
const SWEEP: Duration = Duration::from_millis(250);
/// Time in which a client must complete its request head after the engine has retired. It is short, because the
/// successor of the worker waits for the worker's exit.
const HEAD_GRACE: Duration = Duration::from_secs(1);
/// Maximum bytes read from one client before another client is served.
const TURN: usize = 1 << 20;
/// Stack of the thread, bytes.
const STACK: usize = 256 << 10;

/// The owner of an engine. The I/O thread calls these methods.
pub trait Control: Send + 'static {
    /// The descriptor that becomes readable when there is a command.
    fn descriptor(&self) -> RawFd;

    /// Receives one command and carries it out; called when the descriptor is readable. False means that the owner is
    /// gone. The I/O thread does not watch the descriptor any more then.
    fn receive(&mut self, engine: &Engine) -> bool;

    /// Called after [`Engine::wake`], and after a connection has been handed to the I/O thread.
    fn woken(&mut self, engine: &Engine);

    /// Called when the engine has accepted its last connection and has closed its listeners.
    fn listeners_closed(&mut self);

    /// Called four times a second after [`Control::receive`] has returned false, which means that the owner is gone.
    fn orphaned(&mut self) {}
}

/// State of the I/O thread.
pub struct IoThread<C> {
    engine: Arc<Engine>,
    control: C,
    epoll: Epoll,
    /// The pending connections. The index of a connection is its token in the epoll.
    entries: Vec<Option<Waiting>>,
    free: Vec<usize>,
    count: usize,
    scratch: Vec<u8>,
    /// The request log, for requests whose responses end in this thread.
    log: Option<RequestLog>,
    next_sweep: Instant,
    /// Whether the owner is gone.
    orphaned: bool,
    /// The last phase for which the connections that a leaving engine does not wait for were closed.
    dropped_in: Phase,
    leaving_since: Option<Instant>,
    /// The connections that were closed to make room and that the log does not mention yet, as counts.
    dropped: Dropped,
}

impl<C: Control> IoThread<C> {
    /// Starts the I/O thread of `engine`. From now on [`INTERRUPT`] ends system calls in this process.
    ///
    /// # Errors
    /// The errors of epoll and of starting a thread.
    pub fn start(engine: &Arc<Engine>, control: C) -> io::Result<JoinHandle<()>> {
        let epoll = Epoll::new()?;
        epoll.add(control.descriptor(), Interest::Read, CONTROL)?;
        epoll.add(engine.inbox.wakeup.fd(), Interest::Read, WAKEUP)?;
        thread::interrupt_by(INTERRUPT);
        let mut io_thread = Self {
            engine: engine.clone(),
            control,
            epoll,
            entries: Vec::new(),
            free: Vec::new(),
            count: 0,
            scratch: Vec::new(),
            log: RequestLog::new(&engine.settings.request_log, Pid::own()),
            next_sweep: Instant::now(),
            orphaned: false,
            dropped_in: Phase::Serving,
            leaving_since: None,
            dropped: Dropped::default(),
        };
        thread::without_signals(|| {
            std::thread::Builder::new()
                .name("io".into())
                .stack_size(STACK)
                .spawn(move || {
                    let run = std::panic::AssertUnwindSafe(|| io_thread.run());
                    if std::panic::catch_unwind(run).is_err() {
                        tracing::error!(
                            "the I/O thread panicked, so the process ends; this is a bug in ruwsgi"
                        );
                        std::process::abort();
                    }
                })
        })
    }

    fn run(&mut self) {
        let mut tokens = Vec::with_capacity(64);
        while !self.is_done() {
            let timeout = self.timeout_ms();
            if let Err(error) = self.epoll.wait(&mut tokens, 64, timeout) {
                if error.raw_os_error() == Some(libc::EBADF) {
                    lost_descriptors::end_process(&error);
                }
                tracing::error!("the I/O thread cannot wait for events: {error}");
                std::thread::sleep(SWEEP);
            }
            for token in &tokens {
                match *token {
                    CONTROL => self.receive(),
                    WAKEUP => {
                        self.engine.inbox.wakeup.clear();
                        self.control.woken(&self.engine);
                    }
                    index => self.drive(index as usize),
                }
            }
            self.drop_heads_if_leaving();
            self.take_inbox();
            self.relieve();
            self.sweep();
            self.interrupt_threads();
            if self.engine.is_leaving() {
                // a worker that still has connections is not killed by the master
                self.engine.scoreboard.set_pending(self.count);
            }
        }
    }

    fn is_done(&self) -> bool {
        let engine = &self.engine;
        self.count == 0
            && engine.is_leaving()
            && engine.threads.iter().all(|thread| thread.has_ended())
            && engine.inbox.is_empty()
    }

    /// The timeout of the next epoll_wait(2), milliseconds; -1 means none.
    fn timeout_ms(&self) -> i32 {
        if self.must_interrupt_again() {
            return 1;
        }
        let engine = &self.engine;
        let has_deadlines = self.count > 0
            || self.orphaned
            || engine.inbox.prepare_sleep(|| engine.idle_count() > 0);
        if has_deadlines {
            SWEEP.as_millis() as i32
        } else {
            -1
        }
    }

    fn receive(&mut self) {
        if !self.control.receive(&self.engine) {
            self.epoll.remove(self.control.descriptor());
            self.orphaned = true;
        }
    }

    /// Interrupts waiting serving threads: one for each complete request, or all of them when the engine leaves. An
    /// engine that leaves also closes its listeners, once no thread waits in accept4(2).
    fn interrupt_threads(&mut self) {
        let engine = &self.engine;
        let leaving = engine.is_leaving();
        let mut needed = if leaving {
            usize::MAX
        } else {
            engine.dispatch.ready_count()
        };
        for thread in &engine.threads {
            if needed > 0 && thread.is_waiting() {
                thread.signal(INTERRUPT);
                needed -= 1;
            }
        }
        let nobody_accepts = engine.listeners.epoll.is_some()
            || engine.threads.iter().all(|thread| !thread.is_waiting());
        if leaving && nobody_accepts && engine.listeners.close() {
            self.control.listeners_closed();
        }
    }

    /// Whether a thread must be interrupted again. This is needed because a signal has no effect if it arrives just
    /// before the system call begins.
    fn must_interrupt_again(&self) -> bool {
        let engine = &self.engine;
        let has_reason = engine.dispatch.ready_count() > 0
            || (engine.is_leaving() && engine.listeners.epoll.is_none());
        has_reason && engine.threads.iter().any(|thread| thread.is_waiting())
    }

    /// Closes the connections for which a leaving engine does not wait. A retiring engine closes connections with an
    /// incomplete request head after [`HEAD_GRACE`]. A stopping engine closes them at once, and also the held
    /// connections. Lingering connections stay for a moment, so that their clients do not lose the response.
    fn drop_heads_if_leaving(&mut self) {
        let phase = self.engine.phase();
        if phase <= self.dropped_in {
            return;
        }
        let since = *self.leaving_since.get_or_insert_with(Instant::now);
        if phase == Phase::Retiring && since.elapsed() < HEAD_GRACE {
            return;
        }
        self.dropped_in = phase;
        let is_dropped = match phase {
            Phase::Stopping => Pending::is_dropped_at_stop,
            _ => Pending::is_head,
        };
        for index in 0..self.entries.len() {
            let entry = self.entries[index].as_ref();
            if entry.is_some_and(|entry| is_dropped(&entry.pending))
                && let Some(entry) = self.take_out(index)
            {
                self.forget(&entry.pending);
            }
        }
    }

    fn take_inbox(&mut self) {
        for pending in self.engine.inbox.take() {
            if self.engine.phase() == Phase::Stopping && pending.is_dropped_at_stop() {
                self.forget(&pending);
            } else {
                self.add(pending);
            }
        }
    }

    fn add(&mut self, pending: Pending) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        let fd = pending.connection().raw_fd();
        if let Err(error) = self.epoll.add(fd, pending.interest(), index as u64) {
            tracing::error!("cannot wait for a connection: {error}");
            self.free.push(index);
            self.forget(&pending);
            return;
        }
        self.entries[index] = Some(Waiting::new(pending));
        self.count += 1;
    }

    /// Removes a connection from the entries and the epoll, and returns it.
    fn take_out(&mut self, index: usize) -> Option<Waiting> {
        let entry = self.entries.get_mut(index)?.take()?;
        self.epoll.remove(entry.pending.connection().raw_fd());
        self.free.push(index);
        self.count -= 1;
        Some(entry)
    }

    /// Subtracts a connection that is about to be closed from the number of incomplete requests, if its request is
    /// incomplete.
    fn forget(&self, pending: &Pending) {
        if matches!(pending, Pending::Reading(_)) {
            self.engine.inbox.end_reading();
        }
    }

    /// Reads or writes as much as possible on a connection that is ready. Calls [`Self::conclude`] if the connection's
    /// wait has ended.
    fn drive(&mut self, index: usize) {
        let Some(entry) = self.entries.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        let step = match &mut entry.pending {
            Pending::Reading(incoming) => {
                let Incoming {
                    connection, reader, ..
                } = &mut **incoming;
                let limits = &self.engine.settings.limits;
                match reader.read(connection, limits, &mut self.scratch, TURN) {
                    Step::More => {
                        incoming.settle();
                        None
                    }
                    step => Some(Ready::Read(step)),
                }
            }
            Pending::Writing(outgoing) => {
                match outgoing.queue.flush(outgoing.connection.raw_fd()) {
                    Flow::Blocked => None,
                    Flow::Broken(loss) => Some(Ready::Written(Some(loss))),
                    Flow::Done => Some(Ready::Written(None)),
                }
            }
            Pending::Lingering(draining) | Pending::Held(draining) => {
                (!draining.discard(&mut self.scratch)).then_some(Ready::Drained)
            }
        };
        entry.touch();
        let drained = entry.has_sent_too_much().then_some(Ready::Drained);
        if let Some(ready) = step.or(drained)
            && let Some(entry) = self.take_out(index)
        {
            self.conclude(entry.pending, ready);
        }
    }

    /// Hands a connection whose wait has ended to its next stage, or closes the connection if nothing follows.
    fn conclude(&mut self, pending: Pending, ready: Ready) {
        match (pending, ready) {
            (Pending::Reading(incoming), Ready::Read(step)) => {
                self.conclude_reading(incoming, step);
                self.engine.inbox.end_reading();
            }
            (Pending::Writing(outgoing), Ready::Written(loss)) => {
                self.conclude_writing(*outgoing, loss);
            }
            (pending, _) => self.forget(&pending),
        }
    }

    fn conclude_reading(&mut self, incoming: Box<Incoming>, step: Step) {
        match step {
            Step::Complete => self.engine.dispatch.push(incoming),
            Step::Refused(refusal) => {
                self.engine.refuse(&incoming.connection, refusal);
                self.add(Pending::lingering(incoming.connection));
            }
            Step::Gone(reason) => incoming.connection.log_dropped(reason),
            Step::More => {
                self.engine.inbox.begin_reading();
                self.add(Pending::Reading(incoming));
            }
        }
    }

    /// Keeps an HTTP connection for its next request, after the client has taken the response. A pipelined request is
    /// parsed at once.
    fn keep(&mut self, connection: Connection, mut reader: RequestReader) {
        let connection = self.engine.unwatch(connection);
        if !reader.has_pipelined() {
            self.engine.keep(connection);
            return;
        }
        reader.restart_pipelined(connection.protocol);
        let step = reader.resume(&connection, &self.engine.settings.limits);
        self.conclude_reading(Box::new(Incoming::new(connection, reader)), step);
    }

    fn sweep(&mut self) {
        let now = Instant::now();
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP;
        let phase = self.engine.phase();
        let timeouts = self.engine.settings.timeouts;
        for index in 0..self.entries.len() {
            let entry = self.entries[index].as_mut();
            if let Some(how) = entry.and_then(|entry| entry.expired(now, &timeouts, phase))
                && let Some(entry) = self.take_out(index)
            {
                self.expire(entry.pending, how);
            }
        }
        self.engine.close_idle(if phase == Phase::Stopping {
            u64::MAX
        } else {
            monotonic_micros()
        });
        if self.orphaned {
            self.control.orphaned();
        }
    }
}

/// How the wait for a client has ended.
enum Ready {
    /// The request is complete or refused, or the client is gone.
    Read(Step),
    /// The response is sent, or cannot be sent.
    Written(Option<Loss>),
    /// The connection has to be closed.
    Drained,
}
