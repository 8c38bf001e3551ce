//! Waking a thread that waits in [`super::epoll`]: eventfd(2).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::descriptor::borrow;
use super::private_fd::Membership;

/// A counter in the kernel whose descriptor is readable while it is not zero. Children that the application forks do not
/// inherit it.
#[derive(Debug)]
pub struct Wakeup {
    // dropped before the descriptor is closed
    _membership: Membership,
    counter: EventFd,
}

impl Wakeup {
    /// Creates a counter of zero, close-on-exec and non-blocking.
    ///
    /// # Errors
    /// Those of eventfd(2).
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let counter = EventFd::from_flags(flags)?;
        Ok(Self {
            _membership: Membership::new(counter.as_raw_fd()),
            counter,
        })
    }

    /// The descriptor, for `Epoll::add` and [`wake`].
    pub fn fd(&self) -> RawFd {
        self.counter.as_raw_fd()
    }

    /// Adds one to the counter. Fails only when the counter is at its maximum, where it is readable anyway.
    pub fn wake(&self) {
        let _ = self.counter.write(1);
    }

    /// Resets the counter. Returns false when it was zero.
    pub fn clear(&self) -> bool {
        self.counter.read().is_ok()
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.counter.as_fd()
    }
}

/// As [`Wakeup::wake`], by the number of the descriptor. Async-signal-safe (write(2)).
pub fn wake(fd: RawFd) {
    if let Ok(fd) = borrow(&fd) {
        let _ = nix::unistd::write(fd, &1u64.to_ne_bytes());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_clear_takes_all_wakes() {
        let wakeup = Wakeup::new().unwrap();
        assert!(!wakeup.clear());
        wakeup.wake();
        wake(wakeup.fd());
        assert!(wakeup.clear() && !wakeup.clear());
        wake(-1);
    }
}
