//! The sockets that carry log lines to the log thread. The kernel adds the sender's process id to each packet.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixCredentials,
    setsockopt, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// Maximum size of a packet in bytes, for a process of root. For other users the limit is `net.core.wmem_max` (about
/// 400 KiB).
pub const MAX_PACKET: usize = 1 << 20;

/// Whether the socket preserves the boundaries between writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundaries {
    /// Each write is one packet (`SOCK_SEQPACKET`).
    Kept,
    /// Several writes of one process may arrive as one read (`SOCK_STREAM`).
    Lost,
}

/// Creates a connected pair, close-on-exec. Returns the reading end and the writing end. A write waits at most
/// `timeout` while the buffer is full.
///
/// # Errors
/// Those of socketpair(2) and setsockopt(2).
pub fn pair(boundaries: Boundaries, timeout: Duration) -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = match boundaries {
        Boundaries::Kept => SockType::SeqPacket,
        Boundaries::Lost => SockType::Stream,
    };
    let flags = SockFlag::SOCK_CLOEXEC;
    let (reader, writer) = socket::socketpair(AddressFamily::Unix, kind, None, flags)?;
    setsockopt(&reader, sockopt::PassCred, &true)?;
    // the kernel doubles the size
    let size = MAX_PACKET / 2;
    if setsockopt(&writer, sockopt::SndBufForce, &size).is_err() {
        // without CAP_NET_ADMIN the kernel limits the size
        setsockopt(&writer, sockopt::SndBuf, &size)?;
    }
    let micros = i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX);
    setsockopt(
        &writer,
        sockopt::SendTimeout,
        &TimeVal::microseconds(micros),
    )?;
    Ok((reader, writer))
}

/// Whether a send waits for room in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// The send waits, at most for the timeout of the socket.
    Waits,
    /// The send fails at once.
    None,
}

/// Sends the two parts as one packet. Waits for room in the buffer if `patience` allows.
///
/// # Errors
/// `WouldBlock` when there is no room; those of sendmsg(2). A closed reading end causes `EPIPE`, no SIGPIPE.
pub fn send(fd: BorrowedFd, parts: [&[u8]; 2], patience: Patience) -> io::Result<()> {
    let parts = parts.map(IoSlice::new);
    let mut flags = MsgFlags::MSG_NOSIGNAL;
    flags.set(MsgFlags::MSG_DONTWAIT, patience == Patience::None);
    loop {
        match socket::sendmsg::<()>(fd.as_raw_fd(), &parts, &[], flags, None) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives the next packet into `buffer`, without waiting. Returns the size of the packet and the process id of its
/// sender; `None` if no packet has arrived.
///
/// # Errors
/// Those of recvmsg(2).
pub fn receive(fd: BorrowedFd, buffer: &mut [u8]) -> io::Result<Option<(usize, i32)>> {
    let mut control = nix::cmsg_space!(UnixCredentials);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let mut parts = [IoSliceMut::new(buffer)];
    loop {
        match socket::recvmsg::<()>(fd.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Ok(message) => {
                let pid = message.cmsgs().ok().into_iter().flatten().find_map(|it| {
                    let ControlMessageOwned::ScmCredentials(sender) = it else {
                        return None;
                    };
                    Some(sender.pid())
                });
                return Ok(Some((message.bytes, pid.unwrap_or_default())));
            }
            Err(Errno::EAGAIN) => return Ok(None),
            Err(Errno::EINTR | Errno::ECONNRESET) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    fn next(reader: &OwnedFd) -> Option<(Vec<u8>, i32)> {
        let mut buffer = vec![0; MAX_PACKET];
        let (size, pid) = receive(reader.as_fd(), &mut buffer).unwrap()?;
        Some((buffer[..size].to_vec(), pid))
    }

    #[test]
    fn each_write_is_a_packet_with_the_id_of_its_process() {
        let (reader, writer) = pair(Boundaries::Kept, Duration::from_secs(1)).unwrap();
        send(writer.as_fd(), [b"a", b"bc"], Patience::Waits).unwrap();
        let mut writer = File::from(writer);
        writer.write_all(b"one\ntwo\n").unwrap();
        let own = std::process::id().cast_signed();
        assert_eq!(next(&reader), Some((b"abc".to_vec(), own)));
        assert_eq!(next(&reader), Some((b"one\ntwo\n".to_vec(), own)));
        assert_eq!(next(&reader), None);
    }

    #[test]
    fn a_full_buffer_is_reported_and_not_waited_for() {
        let (_reader, writer) = pair(Boundaries::Kept, Duration::from_secs(1)).unwrap();
        let line = vec![b'x'; 10_000];
        let error = loop {
            if let Err(error) = send(writer.as_fd(), [b"r", &line], Patience::None) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
