//! The engine's phase, and the work that waits for a serving thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::pending::Incoming;

/// The phase of an engine. Phases only advance, in the order of the variants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
#[repr(u8)]
pub enum Phase {
    /// The engine is ready, but accepts no connections before the phase advances.
    Held,
    /// The engine accepts connections.
    Serving,
    /// The engine accepts no more connections, and finishes the requests that have begun. Idle connections are closed
    /// after 100 ms.
    Retiring,
    /// The engine accepts no more connections, and finishes the requests that have begun. Idle connections are closed
    /// at once.
    Stopping,
}

impl Phase {
    fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Held,
            1 => Self::Serving,
            2 => Self::Retiring,
            _ => Self::Stopping,
        }
    }
}

/// Work that waits for a serving thread.
pub enum Ready {
    /// A complete request.
    Request(Box<Incoming>),
    /// A call of the application without a request.
    Call,
}

/// The engine's phase and the queue of work for its serving threads. Threads can wait for a change of either.
pub struct Dispatch {
    phase: AtomicU8,
    ready: Mutex<VecDeque<Ready>>,
    /// Length of the queue, readable without its lock.
    ready_count: AtomicUsize,
    changed: Condvar,
}

impl Dispatch {
    /// Creates an empty queue in `phase`.
    pub fn new(phase: Phase) -> Self {
        Self {
            phase: AtomicU8::new(phase as u8),
            ready: Mutex::default(),
            ready_count: AtomicUsize::new(0),
            changed: Condvar::new(),
        }
    }

    /// The current phase.
    #[inline]
    pub fn phase(&self) -> Phase {
        Phase::from_u8(self.phase.load(SeqCst))
    }

    /// Advances to `phase` and wakes the waiting threads. The phase stays as it is if it is later than `phase`.
    pub fn advance(&self, phase: Phase) {
        let _guard = self.lock();
        self.phase.fetch_max(phase as u8, SeqCst);
        self.changed.notify_all();
    }

    /// Number of complete requests and calls that wait for a serving thread.
    #[inline]
    pub fn ready_count(&self) -> usize {
        self.ready_count.load(SeqCst)
    }

    /// Queues a complete request and wakes a waiting thread.
    pub fn push(&self, request: Box<Incoming>) {
        self.push_ready(self.lock(), Ready::Request(request));
    }

    /// Requests that a serving thread calls [`Application::called`](super::application::Application::called) between
    /// two requests. Has no effect while an earlier call waits.
    pub fn call(&self) {
        let ready = self.lock();
        if !ready.iter().any(|it| matches!(it, Ready::Call)) {
            self.push_ready(ready, Ready::Call);
        }
    }

    fn push_ready(&self, mut ready: MutexGuard<'_, VecDeque<Ready>>, work: Ready) {
        ready.push_back(work);
        self.ready_count.store(ready.len(), SeqCst);
        self.changed.notify_one();
    }

    /// Takes the oldest work from the queue; `None` if the queue is empty.
    #[inline]
    pub fn pop(&self) -> Option<Ready> {
        if self.ready_count() == 0 {
            return None;
        }
        let mut ready = self.lock();
        let work = ready.pop_front();
        self.ready_count.store(ready.len(), SeqCst);
        work
    }

    /// Waits at most 0.1 s, until the engine leaves `phase` or a request is complete.
    pub fn wait_for_change(&self, phase: Phase) {
        let ready = self.lock();
        if ready.is_empty() && self.phase() == phase {
            // the end of the last pending connection causes no notification, so the wait has a timeout
            let _ = self.changed.wait_timeout(ready, Duration::from_millis(100));
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Ready>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
