//! One descriptor that is readable when any connection of a server is ready, whether to read or to write.
//!
//! The loop of a master or an emperor waits for readability only; an epoll(7) instance lets a server wait for more.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

/// What to wait for at a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Interest {
    /// Data or a connection to read. Reported for a closed peer too.
    Read,
    /// Room to write. Reported for a closed peer too.
    Write,
    /// Nothing but errors.
    Paused,
}

impl Interest {
    fn event(self) -> EpollEvent {
        let flags = match self {
            Self::Read => EpollFlags::EPOLLIN,
            Self::Write => EpollFlags::EPOLLOUT,
            Self::Paused => EpollFlags::empty(),
        };
        EpollEvent::new(flags, 0)
    }
}

/// The descriptors of a server, and what it waits for at each.
pub(crate) struct Readiness(Epoll);

impl Readiness {
    /// An empty set.
    ///
    /// # Errors
    /// Those of epoll_create1(2).
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Adds a descriptor. Closing it removes it.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
        Ok(self.0.add(fd, interest.event())?)
    }

    /// Changes what to wait for at a descriptor.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub(crate) fn set(&self, fd: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
        Ok(self.0.modify(fd, &mut interest.event())?)
    }

    /// The descriptor to poll for readability.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::net::UnixStream;

    use crate::sys::poll;

    use super::*;

    #[test]
    fn the_descriptor_is_readable_when_a_connection_can_be_written() {
        let (connection, _peer) = UnixStream::pair().unwrap();
        let readiness = Readiness::new().unwrap();
        readiness.add(connection.as_fd(), Interest::Read).unwrap();
        assert!(!poll::readable(readiness.descriptor()));
        readiness.set(connection.as_fd(), Interest::Write).unwrap();
        assert!(poll::readable(readiness.descriptor()));
        readiness.set(connection.as_fd(), Interest::Paused).unwrap();
        assert!(!poll::readable(readiness.descriptor()));
    }
}
