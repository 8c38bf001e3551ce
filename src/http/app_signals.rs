//! The signals of the application in an engine. Serving threads run the signal handlers between requests.

use std::sync::atomic::Ordering::SeqCst;

use super::engine::Engine;
use super::thread_state::ThreadState;
use crate::shared::running_signal::{RunningSignal, ThreadPlace};

impl Engine {
    /// Requests that a serving thread calls [`Application::called`](super::application::Application::called) between
    /// two requests. If all threads wait, the I/O thread has to wake one of them ([`Engine::wake`]).
    pub fn call_application(&self) {
        self.dispatch.call();
    }

    /// The number of the serving thread that calls this function; `None` in another thread.
    pub fn calling_thread(&self) -> Option<u32> {
        let position = self.threads.iter().position(ThreadState::is_calling);
        position.and_then(|position| u32::try_from(position).ok())
    }

    /// Takes a signal that waits for this process or, unless it leaves, for any worker. `handles` tells whether the
    /// application has a handler for a signal. The thread runs the handler until [`Engine::end_signal`].
    pub fn begin_signal(&self, thread: u32, handles: impl Fn(u8) -> bool) -> Option<RunningSignal> {
        let shared = !self.is_leaving();
        self.scoreboard
            .board
            .begin_signal(self.place(thread), shared, handles)
    }

    /// Records that a thread has run the handler of a signal.
    pub fn end_signal(&self, thread: u32, signal: &RunningSignal) {
        self.scoreboard.board.end_signal(self.place(thread), signal);
    }

    /// Whether a signal waits for this process or for any worker, so that this process may handle it.
    pub fn has_signals(&self) -> bool {
        let shared = !self.is_leaving();
        self.scoreboard
            .board
            .has_signals(self.scoreboard.row, shared)
    }

    /// Sets the deadline of a thread's request, in microseconds of the monotonic clock; 0 removes it.
    pub fn set_deadline(&self, thread: u32, deadline: u64) {
        if let Some(row) = self.scoreboard.thread(thread) {
            row.deadline.store(deadline, SeqCst);
        }
    }

    /// Whether a thread runs the handler of a signal.
    pub fn runs_signal(&self, thread: u32) -> bool {
        let row = self.scoreboard.thread(thread);
        row.is_some_and(|row| row.signal.load(SeqCst) != 0)
    }

    fn place(&self, thread: u32) -> ThreadPlace {
        ThreadPlace {
            row: self.scoreboard.row,
            thread,
        }
    }
}
