//! Closing what somebody else has made.

use std::os::fd::OwnedFd;
use std::thread;

/// Enough for a few calls of close(2).
const STACK: usize = 64 << 10;

/// Closes descriptors that came from another user, in a thread of their own: closing may wait, for a connection that
/// lingers (`SO_LINGER`) or a file system that he serves himself, for as long as he likes.
pub fn close(descriptors: Vec<OwnedFd>) {
    if descriptors.is_empty() {
        return;
    }
    // where there can be no thread they are closed here, since the closure is dropped
    let _ = thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || drop(descriptors));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};

    use nix::sys::socket::{setsockopt, sockopt};

    use super::*;

    #[test]
    fn a_connection_that_lingers_holds_nobody_up() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        sender.set_nonblocking(true).unwrap();
        while sender.write(&[0; 65_536]).is_ok() {}
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 1_000,
        };
        setsockopt(&sender.as_fd(), sockopt::Linger, &linger).unwrap();
        let begin = Instant::now();
        close(vec![sender.into()]);
        assert!(begin.elapsed() < Duration::from_secs(100));
        // what lingers goes on when the reader does
        let mut text = Vec::new();
        let end = receiver.read_to_end(&mut text);
        assert!(end.is_ok() || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    }
}
