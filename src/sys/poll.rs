//! Waits for events of a few descriptors: poll(2).

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The event to wait for on a descriptor. Errors and the end of the stream are reported with either interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Bytes to read, or a connection to accept.
    Read,
    /// Room to write.
    Write,
}

impl Interest {
    fn flags(self) -> PollFlags {
        match self {
            Self::Read => PollFlags::POLLIN,
            Self::Write => PollFlags::POLLOUT,
        }
    }
}

/// Waits until one of `fds` is readable or at its end, or until `timeout` has passed. Returns the indexes of the ready
/// descriptors; see [`wait_for`].
///
/// # Errors
/// Those of poll(2).
pub fn wait(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Vec<usize>> {
    let fds: Vec<_> = fds.iter().map(|fd| (*fd, Interest::Read)).collect();
    wait_for(&fds, timeout)
}

/// Waits until one of `fds` is ready for its interest, or until `timeout` has passed. `None` means no timeout.
///
/// Returns the indexes of the ready descriptors. The timeout is rounded up to milliseconds, so the wait never ends
/// before the caller's deadline. A signal ends the wait early; the returned list is then empty.
///
/// # Errors
/// Those of poll(2).
pub fn wait_for(
    fds: &[(BorrowedFd<'_>, Interest)],
    timeout: Option<Duration>,
) -> io::Result<Vec<usize>> {
    let mut polled: Vec<PollFd<'_>> = fds
        .iter()
        .map(|(fd, interest)| PollFd::new(*fd, interest.flags()))
        .collect();
    match poll(&mut polled, in_milliseconds(timeout)) {
        Ok(0) | Err(Errno::EINTR) => Ok(Vec::new()),
        Ok(_) => Ok(polled
            .iter()
            .enumerate()
            .filter(|(_, fd)| fd.any().unwrap_or(true))
            .map(|(index, _)| index)
            .collect()),
        Err(error) => Err(error.into()),
    }
}

/// Whether `fd` is readable or at its end now. False on error.
pub fn readable(fd: BorrowedFd<'_>) -> bool {
    wait(&[fd], Some(Duration::ZERO)).is_ok_and(|ready| !ready.is_empty())
}

/// Waits until `fd` can be written to, at most for `timeout`; returns whether it can. The result is also true if `fd`
/// has an error, because the next write reports the error.
pub fn writable(fd: BorrowedFd<'_>, timeout: Duration) -> bool {
    let mut polled = [PollFd::new(fd, PollFlags::POLLOUT)];
    poll(&mut polled, in_milliseconds(Some(timeout))).is_ok_and(|ready| ready > 0)
}

fn in_milliseconds(timeout: Option<Duration>) -> PollTimeout {
    let Some(timeout) = timeout else {
        return PollTimeout::NONE;
    };
    let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
    i32::try_from(milliseconds)
        .ok()
        .and_then(|milliseconds| PollTimeout::try_from(milliseconds).ok())
        .unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    use super::*;

    #[test]
    fn only_readable_descriptors_are_returned() {
        let (quiet, _other) = UnixStream::pair().unwrap();
        let (readable_end, mut writer) = UnixStream::pair().unwrap();
        writer.write_all(b"x").unwrap();
        assert_eq!(
            wait(&[quiet.as_fd(), readable_end.as_fd()], None).unwrap(),
            [1]
        );
        assert!(readable(readable_end.as_fd()) && !readable(quiet.as_fd()));
    }

    #[test]
    fn a_descriptor_is_ready_for_its_own_interest_only() {
        let (stream, _other) = UnixStream::pair().unwrap();
        let ready = |interest| wait_for(&[(stream.as_fd(), interest)], Some(Duration::ZERO));
        assert!(ready(Interest::Read).unwrap().is_empty());
        assert_eq!(ready(Interest::Write).unwrap(), [0]);
    }

    #[test]
    fn the_end_of_a_stream_is_readable() {
        let (stream, other) = UnixStream::pair().unwrap();
        drop(other);
        assert!(readable(stream.as_fd()));
    }

    #[test]
    fn a_timeout_is_never_shortened() {
        let (quiet, _other) = UnixStream::pair().unwrap();
        let begun = Instant::now();
        let timeout = Duration::from_micros(1_200);
        assert!(wait(&[quiet.as_fd()], Some(timeout)).unwrap().is_empty());
        assert!(begun.elapsed() >= timeout);
    }
}
