//! A response that is being sent to a client, which may read slowly.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::sys::stream;

/// Time without progress after which a client is dropped.
const STALLED: Duration = Duration::from_secs(5);
/// Maximum time for a client to read the whole response.
const TOTAL: Duration = Duration::from_secs(60);

/// A response with the number of sent bytes and its timeouts.
pub(crate) struct Reply {
    bytes: Vec<u8>,
    sent: usize,
    /// The time at which the client is dropped unless it reads more.
    deadline: Instant,
    /// The time at which the client is dropped, however much it has read.
    limit: Instant,
}

impl Reply {
    /// Creates a response; its timeouts start at `now`.
    pub(crate) fn new(bytes: Vec<u8>, now: Instant) -> Self {
        Self {
            bytes,
            sent: 0,
            deadline: now + STALLED,
            limit: now + TOTAL,
        }
    }

    /// The time at which the client is dropped unless it reads more.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline.min(self.limit)
    }

    /// Sends as many bytes as the socket accepts without blocking. Returns whether the connection can be closed: the
    /// response is complete, the client has disconnected, or a timeout has passed.
    pub(crate) fn send(&mut self, connection: BorrowedFd<'_>, now: Instant) -> bool {
        let rest = self.bytes.get(self.sent..).unwrap_or_default();
        match stream::send(connection.as_raw_fd(), &[IoSlice::new(rest)]) {
            Ok(0) => {}
            Ok(size) => {
                self.sent += size;
                self.deadline = now + STALLED;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return true,
        }
        self.sent >= self.bytes.len() || self.deadline() <= now
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_response_larger_than_the_socket_buffer_is_sent_as_the_client_reads() {
        let (server, mut client) = UnixStream::pair().unwrap();
        server.set_nonblocking(true).unwrap();
        let now = Instant::now();
        let mut reply = Reply::new(vec![b'x'; 4 << 20], now);
        let (mut read, mut piece) = (0, vec![0; 1 << 20]);
        assert!(!reply.send(server.as_fd(), now));
        while !reply.send(server.as_fd(), now) {
            read += client.read(&mut piece).unwrap();
        }
        drop(server);
        let mut rest = Vec::new();
        read += client.read_to_end(&mut rest).unwrap();
        assert_eq!(read, 4 << 20);
    }

    #[test]
    fn a_client_that_does_not_read_is_dropped() {
        let (server, _client) = UnixStream::pair().unwrap();
        server.set_nonblocking(true).unwrap();
        let now = Instant::now();
        let mut reply = Reply::new(vec![b'x'; 4 << 20], now);
        assert!(!reply.send(server.as_fd(), now));
        assert!(!reply.send(server.as_fd(), now + STALLED / 2));
        assert!(reply.send(server.as_fd(), now + STALLED));
    }
}
