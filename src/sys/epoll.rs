//! Waits for events of many descriptors: epoll(7).

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use nix::sys::epoll::{self, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::descriptor::borrow;
use super::private_fd::Membership;

/// Maximum number of events that one [`Epoll::wait`] returns.
const MAX_EVENTS: usize = 64;

/// An epoll instance. The caller gives each watched descriptor a token. Children that the application forks do not
/// inherit the instance.
#[derive(Debug)]
pub struct Epoll {
    // this field must be dropped before the descriptor is closed
    _membership: Membership,
    inner: epoll::Epoll,
}

/// The kind of event that a descriptor is watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Bytes to read, or the end of the stream.
    Read,
    /// As `Read`, but reported once only; [`Epoll::change`] arms the watch again.
    ReadOnce,
    /// A new connection. The kernel wakes at least one of the processes that wait for it, not all (`EPOLLEXCLUSIVE`).
    Accept,
    /// Room to write.
    Write,
}

impl Interest {
    fn flags(self) -> EpollFlags {
        match self {
            Self::Read => EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP,
            Self::ReadOnce => {
                EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLONESHOT
            }
            Self::Accept => EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE,
            Self::Write => EpollFlags::EPOLLOUT,
        }
    }
}

impl Epoll {
    /// Creates an epoll instance, close-on-exec.
    ///
    /// # Errors
    /// Those of epoll_create1(2).
    pub fn new() -> io::Result<Self> {
        let inner = epoll::Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self {
            _membership: Membership::new(inner.0.as_raw_fd()),
            inner,
        })
    }

    /// Starts to watch a descriptor. [`Epoll::wait`] returns `token` for each event of the descriptor.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn add(&self, fd: RawFd, interest: Interest, token: u64) -> io::Result<()> {
        let event = EpollEvent::new(interest.flags(), token);
        Ok(self.inner.add(borrow(&fd)?, event)?)
    }

    /// Replaces the interest and the token of a watched descriptor.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn change(&self, fd: RawFd, interest: Interest, token: u64) -> io::Result<()> {
        let mut event = EpollEvent::new(interest.flags(), token);
        Ok(self.inner.modify(borrow(&fd)?, &mut event)?)
    }

    /// Stops watching a descriptor. No effect if the descriptor is not watched.
    pub fn remove(&self, fd: RawFd) {
        if let Ok(fd) = borrow(&fd) {
            let _ = self.inner.delete(fd);
        }
    }

    /// Waits for events, at most `timeout_ms` milliseconds; a negative value means no timeout. Replaces the contents of
    /// `tokens` by the tokens of the events, at most `limit` and at most 64. A signal ends the wait without events.
    ///
    /// # Errors
    /// Those of epoll_wait(2), except `EINTR`.
    pub fn wait(&self, tokens: &mut Vec<u64>, limit: usize, timeout_ms: i32) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); MAX_EVENTS];
        tokens.clear();
        let timeout = EpollTimeout::try_from(timeout_ms).unwrap_or(EpollTimeout::NONE);
        match self
            .inner
            .wait(&mut events[..limit.min(MAX_EVENTS)], timeout)
        {
            Ok(count) => tokens.extend(events.iter().take(count).map(EpollEvent::data)),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_watched_descriptor_reports_its_token_until_it_is_removed() {
        let epoll = Epoll::new().unwrap();
        let (reader, mut writer) = UnixStream::pair().unwrap();
        epoll.add(reader.as_raw_fd(), Interest::Read, 7).unwrap();
        let mut tokens = vec![1, 2];
        epoll.wait(&mut tokens, 64, 0).unwrap();
        assert!(tokens.is_empty());
        writer.write_all(b"x").unwrap();
        epoll.wait(&mut tokens, 64, -1).unwrap();
        assert_eq!(tokens, [7]);
        epoll.remove(reader.as_raw_fd());
        epoll.wait(&mut tokens, 64, 0).unwrap();
        assert!(tokens.is_empty());
        assert!(epoll.add(-1, Interest::Read, 0).is_err());
    }

    #[test]
    fn a_one_shot_interest_is_reported_once_until_it_is_armed_again() {
        let epoll = Epoll::new().unwrap();
        let (reader, mut writer) = UnixStream::pair().unwrap();
        epoll
            .add(reader.as_raw_fd(), Interest::ReadOnce, 1)
            .unwrap();
        writer.write_all(b"x").unwrap();
        let mut tokens = Vec::new();
        epoll.wait(&mut tokens, 64, 0).unwrap();
        assert_eq!(tokens, [1]);
        epoll.wait(&mut tokens, 64, 0).unwrap();
        assert!(tokens.is_empty());
        epoll
            .change(reader.as_raw_fd(), Interest::ReadOnce, 2)
            .unwrap();
        epoll.wait(&mut tokens, 64, 0).unwrap();
        assert_eq!(tokens, [2]);
    }
}
