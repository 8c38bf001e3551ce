//! The accept queue of a listening socket: `TCP_INFO` (tcp(7)) for TCP, sock_diag(7) for Unix sockets.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike, SockaddrStorage,
    getsockname, recv, send, socket,
};

/// Constants of linux/sock_diag.h, linux/unix_diag.h and linux/netlink.h that libc does not have.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const UDIAG_SHOW_RQLEN: u32 = 1 << 4;
const UNIX_DIAG_RQLEN: u16 = 4;
/// The lengths of `nlmsghdr`, `unix_diag_req` and `unix_diag_msg`, bytes.
const HEADER: usize = 16;
const REQUEST: usize = 24;
const MESSAGE: usize = 16;

/// Number of values of `SO_MEMINFO`, and the index of the value that counts drops. See linux/sock_diag.h.
const MEMINFO_VALUES: usize = 9;
const SK_MEMINFO_DROPS: usize = 8;

/// The accept queue of a listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Connections that are established and not accepted yet.
    pub waiting: u32,
    /// The maximum number of waiting connections: the backlog of listen(2), limited by the kernel.
    pub limit: u32,
}

/// Reads the number of connections that are established and not accepted yet.
///
/// # Errors
/// Those of [`queue`].
pub fn waiting(listener: BorrowedFd<'_>) -> io::Result<u32> {
    queue(listener).map(|queue| queue.waiting)
}

/// Reads the length and the limit of a listening socket's accept queue.
///
/// # Errors
/// Those of getsockopt(2) and of sock_diag(7); `Unsupported` for a socket that is neither TCP nor Unix.
pub fn queue(listener: BorrowedFd<'_>) -> io::Result<Queue> {
    let address: SockaddrStorage = getsockname(listener.as_raw_fd())?;
    match address.family() {
        Some(AddressFamily::Inet | AddressFamily::Inet6) => tcp(listener),
        Some(AddressFamily::Unix) => unix(listener),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Reads the number of connections that the kernel has dropped because the accept queue was full (`SO_MEMINFO`, see
/// socket(7)). Always 0 for a Unix socket, because its clients wait when the queue is full.
///
/// # Errors
/// Those of getsockopt(2).
pub fn drops(listener: BorrowedFd<'_>) -> io::Result<u32> {
    let mut values = [0u32; MEMINFO_VALUES];
    let mut len = size_of_val(&values) as libc::socklen_t;
    // SAFETY: the memory is as large as `len` says, and the kernel writes no more. (nix has no SO_MEMINFO.)
    let result = unsafe {
        libc::getsockopt(
            listener.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    match result {
        0 => Ok(values[SK_MEMINFO_DROPS]),
        _ => Err(io::Error::last_os_error()),
    }
}

fn tcp(listener: BorrowedFd<'_>) -> io::Result<Queue> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the memory is as large as `len` says, and the kernel writes no more. (nix has no TCP_INFO.)
    let result = unsafe {
        libc::getsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a `tcp_info` consists of numbers only, and was zeroed before the call.
    let info = unsafe { info.assume_init() };
    // for a listening socket the kernel's tcp_get_info stores the queue's length and limit in these two fields
    Ok(Queue {
        waiting: info.tcpi_unacked,
        limit: info.tcpi_sacked,
    })
}

fn unix(listener: BorrowedFd<'_>) -> io::Result<Queue> {
    // the kernel identifies a socket by its inode
    let inode = nix::sys::stat::fstat(listener)?.st_ino as u32;
    let diag: OwnedFd = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    send(diag.as_raw_fd(), &request(inode), MsgFlags::empty())?;
    let mut response = [0; 512];
    let len = recv(diag.as_raw_fd(), &mut response, MsgFlags::MSG_DONTWAIT)?;
    queue_of(&response[..len.min(response.len())])
}

/// Builds the sock_diag(7) request for the accept queue of the Unix socket with this inode.
fn request(inode: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + REQUEST);
    bytes.extend(((HEADER + REQUEST) as u32).to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    // the sequence number and the port are 0, because this socket carries only one request
    bytes.extend([0; 8]);
    bytes.extend([libc::AF_UNIX as u8, 0, 0, 0]);
    // select sockets in every state
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(inode.to_ne_bytes());
    bytes.extend(UDIAG_SHOW_RQLEN.to_ne_bytes());
    // no cookie is requested
    bytes.extend([0xff; 8]);
    bytes
}

/// Parses the sock_diag(7) response to [`request`].
fn queue_of(response: &[u8]) -> io::Result<Queue> {
    let half = |at: usize| {
        let bytes = response.get(at..at + 2)?;
        Some(u16::from_ne_bytes(bytes.try_into().ok()?))
    };
    let word = |at: usize| {
        let bytes = response.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let kind = half(4).ok_or_else(invalid)?;
    if i32::from(kind) == libc::NLMSG_ERROR {
        let error = word(HEADER).ok_or_else(invalid)?.cast_signed();
        return Err(io::Error::from_raw_os_error(error.wrapping_neg()));
    }
    if kind != SOCK_DIAG_BY_FAMILY {
        return Err(invalid());
    }
    // attributes: length, type, value; each starts at a multiple of four
    let mut at = HEADER + MESSAGE;
    while let (Some(len), Some(kind)) = (half(at), half(at + 2)) {
        if kind == UNIX_DIAG_RQLEN {
            return match (word(at + 4), word(at + 8)) {
                (Some(waiting), Some(limit)) => Ok(Queue { waiting, limit }),
                _ => Err(invalid()),
            };
        }
        if len < 4 {
            break;
        }
        at += usize::from(len).next_multiple_of(4);
    }
    Err(invalid())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn waiting_connections_of_a_tcp_socket_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(waiting(listener.as_fd()).unwrap(), 0);
        let address = listener.local_addr().unwrap();
        let clients = [(); 3].map(|()| TcpStream::connect(address).unwrap());
        assert_eq!(waiting(listener.as_fd()).unwrap(), 3);
        drop(listener.accept().unwrap());
        assert_eq!(waiting(listener.as_fd()).unwrap(), 2);
        drop(clients);
    }

    #[test]
    fn waiting_connections_of_a_unix_socket_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(waiting(listener.as_fd()).unwrap(), 0);
        let clients = [(); 3].map(|()| UnixStream::connect(&path).unwrap());
        assert_eq!(waiting(listener.as_fd()).unwrap(), 3);
        drop(listener.accept().unwrap());
        assert_eq!(waiting(listener.as_fd()).unwrap(), 2);
        drop(clients);
    }

    #[test]
    fn an_invalid_response_is_an_error() {
        for bytes in [&b""[..], &[0; 3], &[0; 64], &[0xff; 64], &request(1)] {
            assert!(queue_of(bytes).is_err());
        }
    }
}
