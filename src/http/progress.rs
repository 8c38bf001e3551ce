//! Whether a client takes its response.

use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use crate::sys::stream;

/// When a client has last taken bytes of its response.
///
/// A socket reports room for more bytes only when a part of its buffer is free, which takes a slow reader minutes. So before
/// a timeout the bytes in the socket's buffer are asked for, too.
pub struct Progress {
    last: Instant,
    /// Bytes that the socket held then.
    unsent: usize,
}

impl Progress {
    /// The client takes bytes now.
    pub fn new(fd: RawFd) -> Self {
        Self {
            last: Instant::now(),
            unsent: stream::unsent(fd),
        }
    }

    /// Time left until the client has taken nothing for `timeout`.
    pub fn left(&mut self, fd: RawFd, timeout: Duration) -> Duration {
        let left = timeout.saturating_sub(self.last.elapsed());
        if !left.is_zero() {
            return left;
        }
        let unsent = stream::unsent(fd);
        if unsent >= self.unsent {
            return Duration::ZERO;
        }
        self.unsent = unsent;
        self.last = Instant::now();
        timeout
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{IoSlice, Read};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_client_that_takes_a_little_gets_more_time_before_there_is_room() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let fd = ours.as_raw_fd();
        while stream::send(fd, &[IoSlice::new(&[0; 4096])]).is_ok() {}
        let mut progress = Progress::new(fd);
        let timeout = Duration::from_millis(1);
        std::thread::sleep(timeout);
        assert!(progress.left(fd, timeout).is_zero());
        theirs.read_exact(&mut [0; 8192]).unwrap();
        assert!(!stream::wait_writable(fd, 0));
        assert_eq!(progress.left(fd, timeout), timeout);
        std::thread::sleep(timeout);
        assert!(progress.left(fd, timeout).is_zero());
        assert!(!progress.left(fd, Duration::from_secs(60)).is_zero());
    }
}
