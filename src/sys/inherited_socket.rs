//! Inherited listening sockets: their text in a child's environment, the check, and the takeover.

use std::fmt;
use std::io;
use std::os::fd::{OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{SockType, getsockopt, sockopt};
use nix::sys::stat::{self, SFlag};

use super::descriptor;
use super::socket::{FileId, kind_named};
use super::stdio;

/// A listening socket that this process or a child inherits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InheritedSocket {
    /// The number of the descriptor.
    pub(crate) number: RawFd,
    /// The file of a Unix socket, identified when the socket was bound.
    pub(crate) file: Option<FileId>,
}

impl InheritedSocket {
    /// Parses `7`, or `7:DEVICE:INODE` for a Unix socket with a file.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (number, file) = match text.split_once(':') {
            Some((number, file)) => (number, Some(file)),
            None => (text, None),
        };
        let file = file.and_then(|file| {
            let (device, inode) = file.split_once(':')?;
            Some(FileId {
                device: device.parse().ok()?,
                inode: inode.parse().ok()?,
            })
        });
        Some(Self {
            number: number.parse().ok()?,
            file,
        })
    }
}

impl fmt::Display for InheritedSocket {
    /// Writes the text that [`InheritedSocket::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number;
        match self.file {
            Some(FileId { device, inode }) => write!(f, "{number}:{device}:{inode}"),
            None => write!(f, "{number}"),
        }
    }
}

/// Why a descriptor cannot be taken over as a listening socket. Displays as one sentence.
#[derive(thiserror::Error, Debug, PartialEq, Eq)]
pub enum AdoptError {
    /// The descriptor is not open.
    #[error("descriptor {0} is not open")]
    NotOpen(RawFd),
    /// The descriptor is no socket.
    #[error("descriptor {0} is {1}, not a socket")]
    NotASocket(RawFd, &'static str),
    /// The descriptor is a socket, but no stream socket.
    #[error("descriptor {0} is a socket, but not a stream socket")]
    NotAStream(RawFd),
    /// The socket does not listen: it is connected, or listen(2) was not called.
    #[error("descriptor {0} is a socket, but does not listen")]
    NotListening(RawFd),
    /// A system call failed.
    #[error("descriptor {0} cannot be examined: {1}")]
    Kernel(RawFd, Errno),
}

/// Checks that descriptor `fd` is a listening stream socket.
///
/// # Errors
/// [`AdoptError`].
pub fn check_listening(fd: RawFd) -> Result<(), AdoptError> {
    let socket = descriptor::borrow(&fd).map_err(|_| AdoptError::NotOpen(fd))?;
    let stat = stat::fstat(socket).map_err(|_| AdoptError::NotOpen(fd))?;
    let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    if kind != SFlag::S_IFSOCK {
        return Err(AdoptError::NotASocket(fd, kind_named(kind)));
    }
    match getsockopt(&socket, sockopt::SockType) {
        Ok(SockType::Stream) => {}
        Ok(_) => return Err(AdoptError::NotAStream(fd)),
        Err(e) => return Err(AdoptError::Kernel(fd, e)),
    }
    match getsockopt(&socket, sockopt::AcceptConn) {
        Ok(true) => Ok(()),
        Ok(false) => Err(AdoptError::NotListening(fd)),
        Err(e) => Err(AdoptError::Kernel(fd, e)),
    }
}

/// Takes over an inherited listening stream socket, and sets close-on-exec on it.
///
/// The caller must ensure that no other code takes over this number. A socket at a standard descriptor (0 to 2) is
/// duplicated to a number above 2; descriptor 0 then becomes `/dev/null`.
///
/// # Errors
/// [`AdoptError`].
pub fn adopt(fd: RawFd) -> Result<OwnedFd, AdoptError> {
    check_listening(fd)?;
    let failed = |error: io::Error| {
        let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        AdoptError::Kernel(fd, errno)
    };
    if fd > 2 {
        return descriptor::take_over(fd).map_err(failed);
    }
    let standard = descriptor::borrow(&fd).map_err(failed)?;
    let moved = standard.try_clone_to_owned().map_err(failed)?;
    if fd == 0 {
        stdio::close_input().map_err(failed)?;
    }
    Ok(moved)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::{AsRawFd, IntoRawFd};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn only_a_listening_stream_socket_is_adopted() {
        let fd = TcpListener::bind("127.0.0.1:0").unwrap().into_raw_fd();
        let listener = adopt(fd).unwrap();
        assert_eq!(listener.as_raw_fd(), fd);
        let refused = |fd: &dyn AsRawFd| check_listening(fd.as_raw_fd()).unwrap_err().to_string();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(refused(&udp).ends_with("but not a stream socket"));
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(refused(&one).ends_with("but does not listen"));
        let file = tempfile::tempfile().unwrap();
        assert!(refused(&file).ends_with("is a regular file, not a socket"));
        assert_eq!(adopt(9999).unwrap_err(), AdoptError::NotOpen(9999));
        assert_eq!(adopt(-1).unwrap_err(), AdoptError::NotOpen(-1));
    }
}
