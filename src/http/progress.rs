//! Measures whether a client takes its response.

use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use crate::sys::stream;

/// The last time that a client has taken bytes of its response.
///
/// A socket reports room for more bytes only when a part of its buffer is free. With a slow reader this takes minutes.
/// Therefore the number of bytes in the socket's buffer is also compared before a timeout.
pub struct Progress {
    last: Instant,
    /// Unsent bytes in the socket's buffer at the time `last`.
    unsent: usize,
}

impl Progress {
    /// Begins the measurement on `fd`, as if the client had taken bytes just now.
    pub fn new(fd: RawFd) -> Self {
        Self {
            last: Instant::now(),
            unsent: stream::unsent(fd),
        }
    }

    /// Time left until the client has taken no bytes for `timeout`. The timeout restarts if the socket's buffer has
    /// fewer unsent bytes than before.
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
