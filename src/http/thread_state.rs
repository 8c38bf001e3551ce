//! The state of a serving thread that other threads read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed, Ordering::SeqCst};

use super::shared_response::SharedResponse;
use crate::sys::thread;

/// State of a serving thread.
#[derive(Default)]
pub struct ThreadState {
    /// The kernel's thread id, for signals.
    tid: AtomicI32,
    /// Whether the thread waits in a system call that a signal can end.
    waiting: AtomicBool,
    /// Whether the thread has ended.
    ended: AtomicBool,
    /// The response to the thread's current request.
    pub response: Arc<SharedResponse>,
}

impl ThreadState {
    /// Records the thread id of the calling thread, which this state describes.
    pub fn begin(&self) {
        self.tid.store(thread::id(), SeqCst);
    }

    /// Whether the calling thread is the one that this state describes.
    pub fn is_calling(&self) -> bool {
        self.tid.load(SeqCst) == thread::id()
    }

    /// Records that the thread has ended.
    pub fn end(&self) {
        self.ended.store(true, SeqCst);
    }

    /// Whether the thread has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.load(SeqCst)
    }

    /// Announces a system call that [`ThreadState::signal`] may end. Then calls `go`, which tells whether to wait, and
    /// returns its result. If the result is false, the announcement is withdrawn.
    #[inline]
    pub fn enter_wait(&self, go: impl FnOnce() -> bool) -> bool {
        self.waiting.store(true, SeqCst);
        let go = go();
        if !go {
            self.waiting.store(false, SeqCst);
        }
        go
    }

    /// Records that the system call has returned.
    #[inline]
    pub fn leave_wait(&self) {
        self.waiting.store(false, Relaxed);
    }

    /// Whether the thread waits in a system call that a signal can end.
    pub fn is_waiting(&self) -> bool {
        self.waiting.load(SeqCst)
    }

    /// Sends `signal` to the thread.
    pub fn signal(&self, signal: i32) {
        thread::signal(self.tid.load(SeqCst), signal);
    }
}
