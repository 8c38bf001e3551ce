//! The state that the serving threads and the I/O thread of a connection engine share.

use std::collections::HashSet;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::connection::Connection;
use super::crowding::{Candidate, Crowding};
use super::dispatch::{Dispatch, Phase};
use super::keep_alive::KeepAlive;
use super::listeners::{Listener, Listeners};
use super::loss::Loss;
use super::pending::{Inbox, Incoming, Pending};
use super::refusal::Refusal;
use super::request::Request;
use super::request_reader::RequestReader;
use super::scoreboard_rows::ScoreboardRows;
use super::settings::Settings;
use super::shared_response::SharedResponse;
use super::thread_state::ThreadState;
use crate::static_files::files::StaticFiles;
use crate::sys::clock::monotonic_micros;
use crate::sys::epoll::Interest;
use crate::sys::stream;

/// Maximum number of messages that are remembered, because each is logged only once. Clients choose the text of some of
/// these messages, so their number must be limited.
const WARNINGS: usize = 300;
/// Timeout of idle HTTP connections of a retiring engine. A client that sends its next request within this time gets a
/// response with `Connection: close`. The time is short, because the successor of the worker waits for the worker's
/// exit.
const IDLE_GRACE: Duration = Duration::from_millis(100);

/// A connection engine: accepts connections, reads their requests, and sends the responses.
///
/// Its threads are an I/O thread ([`IoThread`](super::io_thread::IoThread)) and serving threads
/// ([`Engine::serve`](super::serve)).
pub struct Engine {
    /// The settings.
    pub(super) settings: Settings,
    /// The scoreboard rows.
    pub(super) scoreboard: ScoreboardRows,
    /// The listening sockets.
    pub(super) listeners: Listeners,
    /// The phase and the complete requests.
    pub(super) dispatch: Dispatch,
    /// Hands connections to the I/O thread.
    pub(super) inbox: Inbox,
    /// The number of waiting connections, and the limit on it.
    pub(super) crowding: Crowding,
    /// The state of each serving thread, by its number.
    pub(super) threads: Vec<ThreadState>,
    keep_alive: Mutex<KeepAlive>,
    static_files: OnceLock<Option<StaticFiles>>,
    /// Keys of the messages that are logged only once and were logged already.
    warned: Mutex<HashSet<String>>,
}

impl Engine {
    /// Creates an engine. Starts no thread.
    ///
    /// # Errors
    /// The errors of epoll_create1(2), epoll_ctl(2), fcntl(2) and eventfd(2).
    pub fn new(
        settings: Settings,
        listeners: Vec<Listener>,
        scoreboard: ScoreboardRows,
        phase: Phase,
    ) -> io::Result<Self> {
        let threads = (0..settings.threads).map(|_| ThreadState::default());
        let threads: Vec<_> = threads.collect();
        let inbox = Inbox::new()?;
        for thread in &threads {
            let rules = settings.header_rules.clone();
            let mut response = thread.response.lock();
            response.set_rules(rules);
            response.set_io_thread(inbox.wakeup.clone());
        }
        Ok(Self {
            threads,
            crowding: Crowding::new(settings.limits.connections),
            settings,
            scoreboard,
            listeners: Listeners::new(listeners)?,
            dispatch: Dispatch::new(phase),
            inbox,
            keep_alive: Mutex::default(),
            static_files: OnceLock::new(),
            warned: Mutex::default(),
        })
    }

    /// The static files; `None` if no static files are configured. Relative paths start at the working directory at the
    /// first call, which happens after the application is loaded.
    pub(super) fn static_files(&self) -> Option<&StaticFiles> {
        let files = self.static_files.get_or_init(|| {
            let settings = self.settings.static_files.as_ref()?;
            let base = std::env::current_dir().unwrap_or_else(|_| "/".into());
            Some(StaticFiles::new(settings, &base))
        });
        files.as_ref()
    }

    /// The current phase.
    #[inline]
    pub fn phase(&self) -> Phase {
        self.dispatch.phase()
    }

    /// Whether the engine accepts no more connections.
    pub fn is_leaving(&self) -> bool {
        self.phase() >= Phase::Retiring
    }

    /// Begins to accept connections.
    pub fn start_accepting(&self) {
        self.dispatch.advance(Phase::Serving);
    }

    /// Accepts no more connections. The requests that have begun are finished, and idle connections are closed after
    /// 100 ms.
    pub fn retire(&self) {
        self.dispatch.advance(Phase::Retiring);
        self.listeners.unwatch();
        let limit = monotonic_micros() + micros(IDLE_GRACE);
        self.keep_alive().limit_deadlines(limit);
    }

    /// Accepts no more connections. The requests that have begun are finished, and idle connections are closed at once.
    pub fn stop(&self) {
        self.dispatch.advance(Phase::Stopping);
        self.listeners.unwatch();
        self.close_idle(u64::MAX);
    }

    /// Number of requests that this worker has begun.
    pub fn requests(&self) -> u64 {
        self.scoreboard.requests()
    }

    /// Number of requests that all workers of the generation have begun, including workers that have exited.
    pub fn total_requests(&self) -> u64 {
        self.scoreboard.board.total_requests()
    }

    /// The response of a thread to its current request.
    ///
    /// # Panics
    /// There is no thread with this number.
    #[inline]
    pub fn response(&self, thread: u32) -> &Arc<SharedResponse> {
        &self.threads[thread as usize].response
    }

    /// The time at which a thread has begun its request (the monotonic clock, microseconds); 0 if it has no request.
    #[inline]
    pub fn busy_since(&self, thread: u32) -> u64 {
        let row = self.scoreboard.thread(thread);
        row.map_or(0, |row| row.busy_since.load(SeqCst))
    }

    /// Counts a request of a thread in which the application has failed.
    pub fn count_exception(&self, thread: u32) {
        self.scoreboard.exception(thread);
    }

    /// Sends `signal` to a thread.
    pub fn signal(&self, thread: u32, signal: i32) {
        if let Some(state) = self.threads.get(thread as usize) {
            state.signal(signal);
        }
    }

    /// The descriptor for a signal handler. A write to it wakes the I/O thread.
    pub fn wakeup_descriptor(&self) -> RawFd {
        self.inbox.wakeup.fd()
    }

    /// Writes request lines directly to the log from now on. Must be called after the exit of the master, which has
    /// written them until then.
    pub fn take_over_lines(&self) {
        if let Some(lines) = &self.scoreboard.lines {
            lines.take_over();
        }
    }

    /// Wakes the I/O thread, which calls [`Control::woken`](super::io_thread::Control::woken).
    pub fn wake(&self) {
        self.inbox.wakeup.wake();
    }

    /// Records the end of the serving thread with the number `thread`, and wakes the I/O thread.
    pub fn leave(&self, thread: u32) {
        if let Some(state) = self.threads.get(thread as usize) {
            state.end();
        }
        self.wake();
    }

    /// Accepts the connections that the kernel may have announced to this worker only, and gives them to the I/O
    /// thread. Call it after [`Engine::retire`], if the master has asked the worker to retire.
    ///
    /// The kernel announces a connection to one of the processes that wait for the listener in an epoll
    /// (EPOLLEXCLUSIVE). That process may find that it must leave before it has accepted the connection. The other
    /// processes would then sleep until the next connection arrives. The problem does not exist for a thread in
    /// accept4(2), which always returns with the connection for which it was woken. Nor does it exist for a worker that
    /// leaves on its own, because its successor finds the waiting connection.
    pub fn accept_announced(&self) {
        if self.listeners.epoll.is_none() {
            return;
        }
        for index in 0..self.listeners.count() {
            for _ in &self.threads {
                // the processes that still accept connections report the failure
                let Some(Ok(connection)) = self.listeners.accept(index) else {
                    break;
                };
                let reader = RequestReader::new(connection.protocol);
                self.inbox.push(Pending::Reading(Box::new(Incoming::new(
                    connection, reader,
                ))));
            }
        }
    }

    /// Keeps an HTTP connection in the epoll until its next request arrives or its timeout ends.
    pub fn keep(&self, connection: Connection) {
        let Some(epoll) = &self.listeners.epoll else {
            return;
        };
        let timeout = if self.is_leaving() {
            IDLE_GRACE
        } else if connection.served == 0 {
            self.settings.timeouts.head
        } else {
            self.settings.timeouts.keep_alive
        };
        let now_us = monotonic_micros();
        let deadline_us = now_us + micros(timeout);
        let (fd, old_token) = (connection.raw_fd(), connection.token);
        let several_threads = self.threads.len() > 1;
        // if several threads share the epoll, the event is reported only once, so that only one thread handles it
        let interest = if several_threads {
            Interest::ReadOnce
        } else {
            Interest::Read
        };
        // the event may occur as soon as it is armed, so the lock is held until the connection is stored
        let mut keep_alive = self.keep_alive();
        let token = keep_alive.put(connection, now_us, deadline_us);
        let armed = match old_token {
            None => epoll.add(fd, interest, token as u64),
            Some(_) if several_threads => epoll.change(fd, interest, token as u64),
            Some(_) => Ok(()),
        };
        if let Err(error) = armed {
            tracing::error!("cannot wait for the next request of a connection: {error}");
            keep_alive.free(token);
        }
        let crowded = self.crowding.is_over(keep_alive.idle_count());
        drop(keep_alive);
        if crowded {
            self.inbox.wakeup.wake();
        }
        self.inbox.wake_if_sleeping();
    }

    /// Number of idle HTTP connections.
    pub fn idle_count(&self) -> usize {
        self.keep_alive().idle_count()
    }

    /// Takes an idle connection whose event has occurred; `None` if the connection is gone.
    pub fn take_idle(&self, token: u64) -> Option<Connection> {
        self.keep_alive().take(usize::try_from(token).ok()?)
    }

    /// Removes a connection from the epoll before it is closed or given to the I/O thread. The close alone would not
    /// remove the connection if a child of the application also holds the socket.
    #[inline]
    pub fn unwatch(&self, mut connection: Connection) -> Connection {
        if let (Some(token), Some(epoll)) = (connection.token.take(), &self.listeners.epoll) {
            epoll.remove(connection.raw_fd());
            self.keep_alive().free(token);
        }
        connection
    }

    /// Closes the idle connections whose deadline has passed at `now_us`.
    pub fn close_idle(&self, now_us: u64) {
        let mut keep_alive = self.keep_alive();
        for token in keep_alive.expired(now_us) {
            if let (Some(connection), Some(epoll)) = (keep_alive.take(token), &self.listeners.epoll)
            {
                epoll.remove(connection.raw_fd());
                keep_alive.free(token);
            }
        }
    }

    /// Closes the idle connections whose tokens `choose` returns. `choose` gets all idle connections.
    pub fn close_some_idle(&self, choose: impl FnOnce(Vec<Candidate>) -> Vec<usize>) {
        let mut keep_alive = self.keep_alive();
        for token in choose(keep_alive.candidates(monotonic_micros())) {
            if let (Some(connection), Some(epoll)) = (keep_alive.take(token), &self.listeners.epoll)
            {
                epoll.remove(connection.raw_fd());
                keep_alive.free(token);
            }
        }
    }

    /// Sends the response of `refusal` in place of the application's, counts it, and logs the reason if it has one.
    pub fn refuse(&self, connection: &Connection, refusal: Refusal) {
        self.scoreboard.refused();
        if let Some(message) = refusal.log
            && refusal.once.is_none_or(|key| self.is_first(key))
        {
            let who = self.listeners.describe(connection);
            match refusal.level {
                tracing::Level::WARN => tracing::warn!("{who}: {message}"),
                _ => tracing::info!("{who}: {message}"),
            }
        }
        if !refusal.response.is_empty() {
            // the response fits into the buffer of any socket; if the client is gone, it needs no response
            let _ = stream::send(connection.raw_fd(), &[io::IoSlice::new(&refusal.response)]);
        }
    }

    /// Logs that a response is cut after `delivered` bytes. Logs nothing if [`Loss::reason`] is `None`.
    #[cold]
    pub fn log_cut(&self, request: &Request, loss: Loss, delivered: u64) {
        if let Some(reason) = loss.reason(&self.settings.timeouts) {
            tracing::info!(
                "worker {}: {} {}: the response is cut after {delivered} bytes: {reason}",
                self.scoreboard.worker_id,
                crate::log::escape(request.method()),
                crate::log::escape(request.uri()),
            );
        }
    }

    /// Whether a message that is logged only once must be logged now. This is so if its key is new, and fewer than
    /// `WARNINGS` messages were logged.
    fn is_first(&self, key: String) -> bool {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.len() < WARNINGS && warned.insert(key)
    }

    fn keep_alive(&self) -> MutexGuard<'_, KeepAlive> {
        self.keep_alive
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}
