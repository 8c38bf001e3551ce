//! A response that its serving thread shares with the I/O thread and the application.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::response::Response;

/// The response of a serving thread. The lock is held during system calls, so it may take long to get the lock.
#[derive(Default)]
pub struct SharedResponse(Mutex<Response>);

impl SharedResponse {
    /// Waits for the lock of the response. Call it without holding an interpreter's lock, because the thread that has
    /// the response may be waiting for the interpreter's lock.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, Response> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the response; `None` if another thread has locked it.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, Response>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
