//! Waking a thread that waits in [`super::epoll`]: eventfd(2).

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::descriptor::borrow;

/// A counter in the kernel whose descriptor is readable while it is not zero.
#[derive(Debug)]
pub struct Bell(EventFd);

impl Bell {
    /// Creates a counter of zero, close-on-exec and non-blocking. With `semaphore` each [`Bell::hush`] takes one
    /// [`Bell::ring`], otherwise all of them.
    ///
    /// # Errors
    /// Those of eventfd(2).
    pub fn new(semaphore: bool) -> io::Result<Self> {
        let mut flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        flags.set(EfdFlags::EFD_SEMAPHORE, semaphore);
        Ok(Self(EventFd::from_flags(flags)?))
    }

    /// The descriptor, for `Epoll::add` and [`ring`].
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Adds one to the counter. Fails only when the counter is at its maximum, where it is readable anyway.
    pub fn ring(&self) {
        let _ = self.0.write(1);
    }

    /// Resets the counter, or takes one from it (`semaphore`). False when it was zero.
    pub fn hush(&self) -> bool {
        self.0.read().is_ok()
    }
}

/// As [`Bell::ring`], by the descriptor's number. Async-signal-safe (write(2)).
pub fn ring(fd: RawFd) {
    if let Ok(fd) = borrow(&fd) {
        let _ = nix::unistd::write(fd, &1u64.to_ne_bytes());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_taken_together_or_one_by_one() {
        let bell = Bell::new(false).unwrap();
        assert!(!bell.hush());
        bell.ring();
        ring(bell.fd());
        assert!(bell.hush() && !bell.hush());
        let semaphore = Bell::new(true).unwrap();
        semaphore.ring();
        semaphore.ring();
        assert!(semaphore.hush() && semaphore.hush() && !semaphore.hush());
        ring(-1);
    }
}
