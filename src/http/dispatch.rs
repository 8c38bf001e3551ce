//! The engine's phase, and the complete requests that wait for a serving thread.

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

/// The engine's phase and the queue of complete requests. Threads can wait for a change of either.
pub struct Dispatch {
    phase: AtomicU8,
    ready: Mutex<VecDeque<Box<Incoming>>>,
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

    /// Number of complete requests that wait for a serving thread.
    #[inline]
    pub fn ready_count(&self) -> usize {
        self.ready_count.load(SeqCst)
    }

    /// Queues a complete request and wakes a waiting thread.
    pub fn push(&self, request: Box<Incoming>) {
        let mut ready = self.lock();
        ready.push_back(request);
        self.ready_count.store(ready.len(), SeqCst);
        self.changed.notify_one();
    }

    /// Takes the oldest complete request from the queue; `None` if the queue is empty.
    #[inline]
    pub fn pop(&self) -> Option<Box<Incoming>> {
        if self.ready_count() == 0 {
            return None;
        }
        let mut ready = self.lock();
        let request = ready.pop_front();
        self.ready_count.store(ready.len(), SeqCst);
        request
    }

    /// Waits until the engine is not in `phase` any more or a request is complete, at most 0.1 s.
    pub fn wait_for_change(&self, phase: Phase) {
        let ready = self.lock();
        if ready.is_empty() && self.phase() == phase {
            // the last pending connection may end without a notification, hence the timeout
            let _ = self.changed.wait_timeout(ready, Duration::from_millis(100));
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Box<Incoming>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
