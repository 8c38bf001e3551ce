//! Closes descriptors without waiting.

use std::os::fd::OwnedFd;
use std::thread;

/// Stack size of the closing thread, bytes.
const STACK: usize = 64 << 10;

/// Closes descriptors in a new thread. Another user has sent these descriptors, and closing them can wait without
/// limit: for a connection with `SO_LINGER`, or for a file system that the other user serves (FUSE).
///
/// If no thread can be started, the calling thread closes the descriptors.
pub fn close(descriptors: Vec<OwnedFd>) {
    if descriptors.is_empty() {
        return;
    }
    // if the thread does not start, the closure is dropped, which closes the descriptors
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
    fn the_close_of_a_lingering_connection_is_not_waited_for() {
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
        // the close completes when the peer has read
        let mut text = Vec::new();
        let end = receiver.read_to_end(&mut text);
        assert!(end.is_ok() || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    }
}
