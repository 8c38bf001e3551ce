//! The deadline of the request that a serving thread works on. The serving thread and the I/O thread share it.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use pyo3::ffi;
use pyo3::prelude::*;

/// The deadline of a serving thread's request.
///
/// A request is identified by its start: `busy_since` of the thread's row on the scoreboard.
#[derive(Default)]
pub struct ThreadDeadline {
    /// Python's identifier of the thread.
    ident: AtomicU64,
    /// The request that the application works on, or 0. Changes only while the thread is attached to the interpreter.
    serving: AtomicU64,
    /// The request whose deadline has passed, or 0.
    expired: AtomicU64,
}

impl ThreadDeadline {
    /// Python's identifier of the thread.
    pub fn ident(&self) -> u64 {
        self.ident.load(SeqCst)
    }

    /// Marks the request that began at `begun` as expired.
    pub fn expire(&self, begun: u64) {
        self.expired.store(begun, SeqCst);
    }

    /// Records the calling thread as the serving thread.
    pub fn attach(&self) {
        // SAFETY: PyThread_get_thread_ident has no preconditions.
        let ident = unsafe { ffi::PyThread_get_thread_ident() };
        self.ident.store(ident, SeqCst);
    }

    /// Marks the request that began at `begun` as served. Call it before the application is called.
    #[inline]
    pub fn enter(&self, begun: u64) {
        self.serving.store(begun, SeqCst);
    }

    /// Marks the request as over, after the application has returned. Cancels the exception of an expired request if it
    /// is still pending, so that it is not raised in the next request.
    #[inline]
    pub fn leave(&self, _py: Python<'_>) {
        let begun = self.serving.swap(0, SeqCst);
        if begun != 0 && self.expired.swap(0, SeqCst) == begun {
            // SAFETY: the calling thread is attached to the interpreter; null cancels a pending exception.
            unsafe {
                ffi::PyThreadState_SetAsyncExc(self.ident.load(SeqCst) as _, std::ptr::null_mut())
            };
        }
    }

    /// Whether the application works on an expired request. Clears the mark, so the result is true only once per
    /// request.
    pub fn take_expired(&self) -> bool {
        let begun = self.serving.load(SeqCst);
        begun != 0
            && self
                .expired
                .compare_exchange(begun, 0, SeqCst, SeqCst)
                .is_ok()
    }

    /// Whether the application works on the request that began at `begun`.
    pub fn is_serving(&self, begun: u64) -> bool {
        self.serving.load(SeqCst) == begun
    }
}
