//! System calls on connections, one for each function: accept, receive, send, sendfile, poll.
//!
//! Connections are non-blocking, so these functions return `WouldBlock` instead of waiting. Only these functions wait:
//! functions whose names start with `wait`, and [`accept`] and [`accept_from`] on a blocking listener. The accept
//! functions return `Interrupted` after a signal, because their caller may have to stop. Functions that send or receive
//! repeat the call after a signal.

use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;

use bytes::{BufMut, BytesMut};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::sendfile::sendfile64;
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, Shutdown, SockFlag, SockaddrLike, SockaddrStorage, setsockopt,
    sockopt,
};

use super::descriptor::{self, borrow};

/// Flags of an accepted connection.
const ACCEPTED: SockFlag = SockFlag::SOCK_NONBLOCK.union(SockFlag::SOCK_CLOEXEC);

/// Flags of each send. A closed peer causes `EPIPE` without SIGPIPE, and a full buffer causes `EAGAIN`.
const SENT: MsgFlags = MsgFlags::MSG_NOSIGNAL.union(MsgFlags::MSG_DONTWAIT);

/// `MSG_MORE`, which nix does not know. It tells the kernel that more bytes follow at once.
const MORE: MsgFlags = MsgFlags::from_bits_retain(libc::MSG_MORE);

/// Maximum number of bytes that sendfile(2) transfers in one call.
const MAX_SENDFILE: usize = 0x7fff_f000;

/// Repeats `call` while a signal interrupts it (`EINTR`).
fn retried<T>(mut call: impl FnMut() -> nix::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Accepts a connection, and makes it non-blocking and close-on-exec. Does not return the peer's address.
///
/// # Errors
/// Those of accept4(2), including `Interrupted`.
pub fn accept(listener: RawFd) -> io::Result<OwnedFd> {
    let fd = socket::accept4(listener, ACCEPTED)?;
    // SAFETY: accept4 has just returned this descriptor, and nothing else owns it.
    Ok(unsafe { descriptor::own(fd) })
}

/// Accepts a connection as [`accept`] does, and also returns the peer's address. The address is `None` if it is no IP
/// address.
///
/// # Errors
/// Those of accept4(2), including `Interrupted`.
pub fn accept_from(listener: RawFd) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::uninit();
    let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: the storage is as large as `len` says. (nix has no accept4 that returns the address.)
    let fd = unsafe {
        libc::accept4(
            listener,
            storage.as_mut_ptr().cast(),
            &raw mut len,
            ACCEPTED.bits(),
        )
    };
    Errno::result(fd)?;
    // SAFETY: accept4 has just returned this descriptor, and nothing else owns it.
    let fd = unsafe { descriptor::own(fd) };
    // SAFETY: the kernel has written `len` bytes of an address, and no more of the storage is read.
    let address = unsafe { SockaddrStorage::from_raw(storage.as_ptr().cast(), Some(len)) };
    Ok((fd, address.as_ref().and_then(ip_address)))
}

/// Converts a kernel address to an IP address and port; `None` for other families. An IPv4-mapped IPv6 address is
/// converted to IPv4.
fn ip_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::new(IpAddr::V4(v4.ip()), v4.port()));
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(SocketAddr::new(v6.ip().to_canonical(), v6.port()))
}

/// The local address of a connection; `None` if it is no IP address.
pub fn local_address(fd: BorrowedFd<'_>) -> Option<SocketAddr> {
    let address: SockaddrStorage = socket::getsockname(fd.as_raw_fd()).ok()?;
    ip_address(&address)
}

/// Maximum free space that is reserved in a buffer before a recv(2), bytes.
const RECV_ROOM: usize = 64 << 10;

/// Appends to `buffer` the bytes that have arrived, at most `limit`. Returns the number of bytes; 0 is the end of the
/// stream.
///
/// # Errors
/// Those of recv(2): `WouldBlock` when nothing has arrived.
pub fn recv_into(fd: RawFd, buffer: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
    buffer.reserve(limit.min(RECV_ROOM));
    recv_append(fd, buffer, limit)
}

/// Receives bytes as [`recv_into`] does. The front of a [`BytesMut`] can be removed without moving the other bytes.
///
/// # Errors
/// Those of recv(2): `WouldBlock` when nothing has arrived.
pub fn recv_into_bytes(fd: RawFd, buffer: &mut BytesMut, limit: usize) -> io::Result<usize> {
    buffer.reserve(limit.min(RECV_ROOM));
    recv_append(fd, buffer, limit)
}

fn recv_append(fd: RawFd, buffer: &mut impl BufMut, limit: usize) -> io::Result<usize> {
    let spare = buffer.chunk_mut();
    let room = spare.len().min(limit);
    let received = retried(|| {
        // SAFETY: the buffer owns at least `room` bytes of spare capacity. (nix receives only into initialised memory,
        // which would cost a memset for each call.)
        Errno::result(unsafe {
            libc::recv(fd, spare.as_mut_ptr().cast(), room, libc::MSG_DONTWAIT)
        })
    })?
    .unsigned_abs();
    // SAFETY: the kernel has initialised `received` bytes of the spare capacity.
    unsafe { buffer.advance_mut(received) };
    Ok(received)
}

/// Sends as many bytes of `parts` as the socket accepts without waiting, and returns their number.
///
/// # Errors
/// Those of sendmsg(2): `WouldBlock` when the socket accepts nothing now, `BrokenPipe` when the peer is gone (without
/// SIGPIPE).
pub fn send(fd: RawFd, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    retried(|| match parts {
        // most responses have one part; send(2) copies and checks less than sendmsg(2)
        [one] => socket::send(fd, one, SENT),
        _ => socket::sendmsg::<()>(fd, parts, &[], SENT, None),
    })
}

/// Sends up to `count` bytes of a file, starting at `offset`, and adds the number of sent bytes to `offset`. Returns
/// that number; 0 is the end of the file.
///
/// # Errors
/// Those of sendfile(2): `WouldBlock` when the socket accepts nothing now.
pub fn sendfile(socket: RawFd, file: RawFd, offset: &mut u64, count: u64) -> io::Result<usize> {
    let mut position = i64::try_from(*offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let count = usize::try_from(count)
        .unwrap_or(usize::MAX)
        .min(MAX_SENDFILE);
    let (socket, file) = (borrow(&socket)?, borrow(&file)?);
    let sent = retried(|| sendfile64(socket, file, Some(&mut position), count))?;
    *offset += sent as u64;
    Ok(sent)
}

/// Sends bytes as [`send`] does. More bytes follow at once, so the kernel delays a small segment.
///
/// # Errors
/// The errors of [`send`].
pub fn send_more(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    retried(|| socket::send(fd, bytes, SENT.union(MORE)))
}

/// Size of the buffer of [`send_by_reading`], bytes.
const READ_BUFFER: usize = 32 << 10;

/// Sends a part of a file as [`sendfile`] does, for files that sendfile(2) cannot send. Reads the part and sends the
/// bytes.
///
/// # Errors
/// Those of pread(2) and send(2): `WouldBlock` when the socket accepts nothing now.
pub fn send_by_reading(
    socket: RawFd,
    file: &File,
    offset: &mut u64,
    count: u64,
) -> io::Result<usize> {
    let mut buffer = [0; READ_BUFFER];
    let count = usize::try_from(count).unwrap_or(READ_BUFFER);
    let len = file.read_at(&mut buffer[..count.min(READ_BUFFER)], *offset)?;
    if len == 0 {
        return Ok(0);
    }
    let sent = send(socket, &[IoSlice::new(&buffer[..len])])?;
    *offset += sent as u64;
    Ok(sent)
}

/// Appends `len` bytes of a file from `offset` to `buffer`. False if the file has fewer bytes or cannot be read.
pub fn read_at(file: &File, buffer: &mut Vec<u8>, offset: u64, len: usize) -> bool {
    buffer.reserve(len);
    let (mut position, mut left) = (offset, len);
    while left > 0 {
        let Ok(at) = i64::try_from(position) else {
            return false;
        };
        let spare = buffer.spare_capacity_mut();
        let room = spare.len().min(left);
        let read = retried(|| {
            // SAFETY: the buffer owns at least `room` bytes of spare capacity. (nix and std read only into initialised
            // memory, which would cost a memset for each call.)
            Errno::result(unsafe {
                libc::pread(file.as_raw_fd(), spare.as_mut_ptr().cast(), room, at)
            })
        });
        let Ok(read @ 1..) = read.map(isize::unsigned_abs) else {
            return false;
        };
        // SAFETY: the kernel has initialised `read` bytes of the spare capacity.
        unsafe { buffer.set_len(buffer.len() + read) };
        position += read as u64;
        left -= read;
    }
    true
}

/// Number of bytes in the send queue of a socket; 0 on error. Over TCP, these are the bytes that the peer has not
/// acknowledged. On a Unix socket, they are the bytes that the peer has not read, plus the kernel's overhead.
pub fn unsent(fd: RawFd) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes one int. (nix has no function for it.)
    let result = unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 {
        usize::try_from(bytes).unwrap_or(0)
    } else {
        0
    }
}

/// Whether the socket has received bytes that are not read yet. Does not wait.
pub fn has_unread(fd: RawFd) -> bool {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    retried(|| socket::recv(fd, &mut [0], flags)).is_ok_and(|received| received > 0)
}

/// Whether a descriptor is a Unix socket.
pub fn is_unix(fd: RawFd) -> bool {
    socket::getsockname::<SockaddrStorage>(fd)
        .is_ok_and(|address| address.family() == Some(AddressFamily::Unix))
}

/// Ends the sending direction of a connection; the peer's bytes can still be read.
pub fn shut_down_writing(fd: RawFd) {
    // shutdown fails only if the peer is already gone
    let _ = socket::shutdown(fd, Shutdown::Write);
}

/// Makes the kernel reset a TCP connection when it is closed. The peer then does not take a truncated response for a
/// complete response. No effect on Unix sockets.
pub fn reset_on_close(fd: RawFd) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    if let Ok(fd) = borrow(&fd) {
        let _ = setsockopt(&fd, sockopt::Linger, &linger);
    }
}

/// Resets a TCP connection at once; shuts a Unix socket down in both directions. A thread that waits for the connection
/// wakes up, and its later sends fail.
pub fn reset(fd: RawFd) {
    let unspecified = libc::sockaddr {
        sa_family: libc::AF_UNSPEC as libc::sa_family_t,
        sa_data: [0; 14],
    };
    let len = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: the address is `len` bytes long. (nix has no address of the family AF_UNSPEC.)
    let disconnected = unsafe { libc::connect(fd, &raw const unspecified, len) };
    if disconnected != 0 {
        // shutdown fails only if the peer is already gone
        let _ = socket::shutdown(fd, Shutdown::Both);
    }
}

/// Sets `TCP_NODELAY`, so that the kernel does not delay small segments. No effect on Unix sockets.
pub fn send_at_once(fd: RawFd) {
    if let Ok(fd) = borrow(&fd) {
        let _ = setsockopt(&fd, sockopt::TcpNoDelay, &true);
    }
}

/// The state of a connection's peer. The kernel knows it without sending anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// The peer may send more.
    Present,
    /// The peer sends no more, and may still read. Over TCP, the kernel cannot distinguish a closed socket from a
    /// half-closed one.
    Ended,
    /// The peer neither sends nor reads.
    Gone,
}

/// Reads the state of a connection's peer by poll(2), without waiting.
pub fn peer(fd: RawFd) -> Peer {
    let mut polled = libc::pollfd {
        fd,
        events: libc::POLLRDHUP,
        revents: 0,
    };
    // SAFETY: the array has one entry, which outlives the call. (nix does not know POLLRDHUP.)
    let _ = unsafe { libc::poll(&raw mut polled, 1, 0) };
    if polled.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0 {
        Peer::Gone
    } else if polled.revents & libc::POLLRDHUP != 0 {
        Peer::Ended
    } else {
        Peer::Present
    }
}

/// Waits until the socket accepts bytes again, at most `timeout_ms` milliseconds (negative: no timeout). Returns false
/// after the timeout and after a signal.
pub fn wait_writable(fd: RawFd, timeout_ms: i32) -> bool {
    wait(fd, PollFlags::POLLOUT, timeout_ms)
}

/// Waits until bytes or the end of the stream can be read, at most `timeout_ms` milliseconds (negative: no timeout).
/// Returns false after the timeout and after a signal.
pub fn wait_readable(fd: RawFd, timeout_ms: i32) -> bool {
    wait(fd, PollFlags::POLLIN, timeout_ms)
}

/// Waits for `events`. A negative timeout means no timeout. After a signal the result is false, so that the caller can
/// check whether to continue.
fn wait(fd: RawFd, events: PollFlags, timeout_ms: i32) -> bool {
    let timeout = PollTimeout::try_from(timeout_ms).unwrap_or(PollTimeout::NONE);
    borrow(&fd).is_ok_and(|fd| poll(&mut [PollFd::new(fd, events)], timeout) == Ok(1))
}

/// Sets close-on-exec on a descriptor.
///
/// # Errors
/// Those of fcntl(2).
pub fn close_on_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(())
}

/// Creates a file in memory, close-on-exec: memfd_create(2).
///
/// # Errors
/// Those of memfd_create(2).
pub fn memory_file(name: &str) -> io::Result<File> {
    let fd = nix::sys::memfd::memfd_create(name, nix::sys::memfd::MFdFlags::MFD_CLOEXEC)?;
    Ok(fd.into())
}

/// Whether a descriptor is a file in memory (memfd or tmpfs), which can be read and closed without waiting.
pub fn is_memory_file(fd: BorrowedFd<'_>) -> bool {
    // only files in memory have seals
    fcntl(fd, FcntlArg::F_GET_SEALS).is_ok()
}

/// Sets `O_APPEND`, so that every write goes to the end of the file. Clears the other status flags, such as
/// `O_NONBLOCK`.
///
/// # Errors
/// Those of fcntl(2).
pub fn append_only(file: &File) -> io::Result<()> {
    fcntl(file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn an_accepted_connection_does_not_wait_and_has_the_peers_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, peer) = accept_from(listener.as_raw_fd()).unwrap();
        assert_eq!(peer, Some(client.local_addr().unwrap()));
        let fd = connection.as_raw_fd();
        let error = recv_into(fd, &mut Vec::new(), 10).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        use std::os::fd::AsFd;
        assert_eq!(
            local_address(connection.as_fd()),
            Some(listener.local_addr().unwrap())
        );
        send_at_once(fd);
        reset_on_close(fd);
        drop(connection);
        let error = (&client).read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_unix_peer_has_no_ip_address() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        let (connection, peer) = accept_from(listener.as_raw_fd()).unwrap();
        assert_eq!(peer, None);
        use std::os::fd::AsFd;
        assert_eq!(local_address(connection.as_fd()), None);
        listener.set_nonblocking(true).unwrap();
        let error = accept(listener.as_raw_fd()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn bytes_are_appended_and_the_limit_is_kept() {
        let (reader, mut writer) = UnixStream::pair().unwrap();
        writer.write_all(b"abcdef").unwrap();
        let mut buffer = b"0".to_vec();
        let fd = reader.as_raw_fd();
        assert_eq!(recv_into(fd, &mut buffer, 4).unwrap(), 4);
        assert_eq!(buffer, b"0abcd");
        drop(writer);
        assert_eq!(recv_into(fd, &mut buffer, 100).unwrap(), 2);
        assert_eq!(recv_into(fd, &mut buffer, 100).unwrap(), 0);
        assert_eq!(buffer, b"0abcdef");
    }

    #[test]
    fn one_part_several_parts_and_a_file_are_sent() {
        let (sender, mut receiver) = UnixStream::pair().unwrap();
        let fd = sender.as_raw_fd();
        assert_eq!(send(fd, &[IoSlice::new(b"one ")]).unwrap(), 4);
        let parts = [IoSlice::new(b"two "), IoSlice::new(b"three ")];
        assert_eq!(send(fd, &parts).unwrap(), 10);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"from a file").unwrap();
        let mut offset = 5;
        assert_eq!(sendfile(fd, file.as_raw_fd(), &mut offset, 100).unwrap(), 6);
        assert_eq!(offset, 11);
        assert_eq!(sendfile(fd, file.as_raw_fd(), &mut offset, 100).unwrap(), 0);
        assert_eq!(send_more(fd, b", ").unwrap(), 2);
        offset = 7;
        assert_eq!(send_by_reading(fd, &file, &mut offset, 2).unwrap(), 2);
        assert_eq!(offset, 9);
        offset = 11;
        assert_eq!(send_by_reading(fd, &file, &mut offset, 2).unwrap(), 0);
        let mut read = b"0".to_vec();
        assert!(read_at(&file, &mut read, 7, 4) && !read_at(&file, &mut read, 9, 3));
        assert_eq!(&read[..5], b"0file");
        shut_down_writing(fd);
        let mut text = String::new();
        receiver.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two three a file, fi");
        drop(receiver);
        let error = send(fd, &parts).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn bytes_that_the_peer_has_not_taken_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = accept_from(listener.as_raw_fd()).unwrap();
        let fd = connection.as_raw_fd();
        assert!(!is_unix(fd) && !has_unread(fd));
        let mut sent = 0;
        while let Ok(count) = send(fd, &[IoSlice::new(&[0; 65_536])]) {
            sent += count;
        }
        let unsent = unsent(fd);
        assert!(unsent > 0 && unsent < sent, "{unsent} of {sent}");
        (&client).write_all(b"more").unwrap();
        assert!(wait_readable(fd, 20_000) && has_unread(fd));
        let (one, other) = UnixStream::pair().unwrap();
        assert!(is_unix(one.as_raw_fd()));
        (&other).write_all(b"x").unwrap();
        assert!(super::unsent(other.as_raw_fd()) > 0 && super::unsent(-1) == 0);
    }

    #[test]
    fn a_peer_ends_and_leaves() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = accept_from(listener.as_raw_fd()).unwrap();
        let fd = connection.as_raw_fd();
        assert_eq!(peer(fd), Peer::Present);
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(peer(fd), Peer::Ended);
        reset(client.as_raw_fd());
        assert_eq!(peer(fd), Peer::Gone);
        let (one, other) = UnixStream::pair().unwrap();
        assert_eq!(peer(one.as_raw_fd()), Peer::Present);
        other.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(peer(one.as_raw_fd()), Peer::Ended);
        drop(other);
        assert_eq!(peer(one.as_raw_fd()), Peer::Gone);
    }

    #[test]
    fn a_reset_wakes_a_thread_that_waits_and_reaches_the_peer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = accept_from(listener.as_raw_fd()).unwrap();
        let fd = connection.as_raw_fd();
        while send(fd, &[IoSlice::new(&[0; 65_536])]).is_ok() {}
        std::thread::scope(|scope| {
            scope.spawn(|| wait(fd, PollFlags::POLLOUT, 20_000));
            reset(fd);
        });
        let error = send(fd, &[IoSlice::new(b"more")]).unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::WouldBlock);
        let error = (&client).read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let (one, mut other) = UnixStream::pair().unwrap();
        reset(one.as_raw_fd());
        assert_eq!(other.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn a_full_socket_is_not_writable_until_it_is_read() {
        let (sender, mut receiver) = UnixStream::pair().unwrap();
        let fd = sender.as_raw_fd();
        while send(fd, &[IoSlice::new(&[0; 65_536])]).is_ok() {}
        assert!(!wait_writable(fd, 0) && wait_readable(receiver.as_raw_fd(), -1));
        let mut bytes = vec![0; 1 << 20];
        while !wait_writable(fd, 0) {
            assert!(receiver.read(&mut bytes).unwrap() > 0);
        }
        assert!(!wait_readable(-1, 0));
    }
}
