//! Sends and receives messages on a socket that keeps their boundaries. The functions never wait.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

/// Sends one message. Does not wait.
///
/// # Errors
/// `WouldBlock` if the queue is full; those of send(2).
pub fn send_now(fd: BorrowedFd<'_>, message: &[u8]) -> io::Result<()> {
    // an empty message would look like the end of the stream, so each message begins with one byte
    let mut framed = Vec::with_capacity(message.len() + 1);
    framed.push(0);
    framed.extend_from_slice(message);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    send(fd.as_raw_fd(), &framed, flags)?;
    Ok(())
}

/// Receives one message of at most `limit` bytes. A longer message is cut off. `None` if no message waits.
///
/// # Errors
/// Those of recv(2).
pub fn receive_now(fd: BorrowedFd<'_>, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut message = vec![0; limit.saturating_add(1)];
    match recv(fd.as_raw_fd(), &mut message, MsgFlags::MSG_DONTWAIT) {
        Ok(0) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        Ok(len) => {
            message.truncate(len);
            message.remove(0);
            Ok(Some(message))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::packet;

    #[test]
    fn messages_keep_their_boundaries_also_empty_ones() {
        let (reader, writer) = packet::pair().unwrap();
        for message in [&b"one"[..], b"", b"three"] {
            send_now(writer.as_fd(), message).unwrap();
        }
        let next = || receive_now(reader.as_fd(), 100).unwrap();
        assert_eq!(next(), Some(b"one".to_vec()));
        assert_eq!(next(), Some(Vec::new()));
        assert_eq!(next(), Some(b"three".to_vec()));
        assert_eq!(next(), None);
    }

    #[test]
    fn a_full_queue_refuses_a_message() {
        let (_reader, writer) = packet::pair().unwrap();
        let full = (0..1_000_000).find(|_| send_now(writer.as_fd(), &[b'x'; 1000]).is_err());
        assert!(full.is_some());
    }
}
