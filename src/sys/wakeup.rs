//! Wakes a thread that waits in [`super::epoll`]: eventfd(2).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::descriptor::borrow;
use super::private_fd::Membership;

/// A counter in the kernel. Its descriptor is readable while the counter is not zero. Children that the application
/// forks do not inherit the descriptor.
#[derive(Debug)]
pub struct Wakeup {
    // this field must be dropped before the descriptor is closed
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

    /// Adds one to the counter, which makes the descriptor readable. An error is ignored: the counter is then at its
    /// maximum, so the descriptor is readable already.
    pub fn wake(&self) {
        let _ = self.counter.write(1);
    }

    /// Resets the counter to zero. Returns false if it was zero already.
    pub fn clear(&self) -> bool {
        self.counter.read().is_ok()
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.counter.as_fd()
    }
}

/// Adds one to the counter of another process, as [`Wakeup::wake`] does. `fd` is an inherited descriptor of this
/// counter.
pub fn wake_fd(fd: &impl AsFd) {
    let _ = nix::unistd::write(fd, &1u64.to_ne_bytes());
}

/// Adds one to a counter, as [`Wakeup::wake`] does. `fd` is the number of its descriptor. Async-signal-safe: calls
/// write(2) only.
pub fn wake(fd: RawFd) {
    if let Ok(fd) = borrow(&fd) {
        wake_fd(&fd);
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
