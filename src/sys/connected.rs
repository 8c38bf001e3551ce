//! Tells whether the peer of a socket is connected.

use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

/// Whether a socket is connected and its peer has not closed the connection. Reads nothing.
pub fn is_connected(fd: RawFd) -> bool {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    match recv(fd, &mut [0], flags) {
        Ok(0) => false,
        Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => true,
        Err(_) => false,
    }
}
