//! A serving thread, as the other threads see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed, Ordering::SeqCst};

use super::shared_response::SharedResponse;
use crate::sys::thread;

/// State of a serving thread.
#[derive(Default)]
pub struct ThreadState {
    /// The kernel's thread id, for signals.
    tid: AtomicI32,
    /// Whether it waits in a system call that a signal can end.
    waiting: AtomicBool,
    /// Whether it has ended.
    ended: AtomicBool,
    /// The response to its current request.
    pub response: Arc<SharedResponse>,
}

impl ThreadState {
    /// The calling thread is this one.
    pub fn begin(&self) {
        self.tid.store(thread::id(), SeqCst);
    }

    /// The thread serves no more.
    pub fn end(&self) {
        self.ended.store(true, SeqCst);
    }

    /// Whether the thread has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.load(SeqCst)
    }

    /// Announces a system call that [`ThreadState::signal`] may end, and then asks `go` whether to wait at all. Returns the
    /// result; after false nothing is announced.
    #[inline]
    pub fn enter_wait(&self, go: impl FnOnce() -> bool) -> bool {
        self.waiting.store(true, SeqCst);
        let go = go();
        if !go {
            self.waiting.store(false, SeqCst);
        }
        go
    }

    /// The system call has returned.
    #[inline]
    pub fn leave_wait(&self) {
        self.waiting.store(false, Relaxed);
    }

    /// Whether the thread waits in a system call.
    pub fn is_waiting(&self) -> bool {
        self.waiting.load(SeqCst)
    }

    /// Sends the thread a signal.
    pub fn signal(&self, signal: i32) {
        thread::signal(self.tid.load(SeqCst), signal);
    }
}
