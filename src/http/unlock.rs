//! Releases an interpreter's lock around system calls.

/// Releases the lock of an interpreter while the engine waits or writes.
///
/// An application without an interpreter uses the default, which only runs the closure.
pub trait Unlock {
    /// Runs `wait`, which may take long, while the interpreter's lock is released.
    #[inline]
    fn unlocked<T: Send>(&self, wait: impl FnOnce() -> T + Send) -> T {
        wait()
    }
}

/// The lock of an application without an interpreter: there is nothing to release.
pub struct NoLock;

impl Unlock for NoLock {}
