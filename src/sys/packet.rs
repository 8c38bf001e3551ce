//! Packets with descriptors over a `SOCK_SEQPACKET` pair: unix(7), cmsg(3).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, setsockopt, sockopt,
};

use super::descriptor;

/// Maximum number of descriptors in a packet that [`send`] accepts.
pub const MAX_FDS: usize = 64;

/// Maximum number of descriptors that the kernel allows in one packet (`SCM_MAX_FD`). [`recv`] has room for all of
/// them, so that no descriptor is lost when a peer exceeds [`MAX_FDS`].
const KERNEL_MAX_FDS: usize = 253;

/// Requested size of the send buffer, bytes. The kernel doubles the size for its bookkeeping, so packets of a little
/// more than 1 MiB fit.
const SEND_BUFFER: usize = 1 << 20;

/// Creates a connected pair; both ends are close-on-exec and blocking.
///
/// The maximum packet size is about 1 MiB when the caller is root, otherwise `net.core.wmem_max` (about 200 KiB by
/// default).
///
/// # Errors
/// Those of socketpair(2) and setsockopt(2).
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (a, b) = socket::socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    for end in [&a, &b] {
        if setsockopt(end, sockopt::SndBufForce, &SEND_BUFFER).is_err() {
            // without CAP_NET_ADMIN the kernel limits the size
            setsockopt(end, sockopt::SndBuf, &SEND_BUFFER)?;
        }
    }
    Ok((a, b))
}

/// Takes over an inherited end of a [`pair`], and sets close-on-exec on it.
///
/// The caller must ensure that no other code takes over this number.
///
/// # Errors
/// Those of getsockopt(2): `EBADF` when the number is not open, `ENOTSOCK` when it is no socket. `InvalidInput` when
/// the socket is not `SOCK_SEQPACKET`, or when the number is a standard descriptor (0 to 2).
pub fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    if socket::getsockopt(&descriptor::borrow(&fd)?, sockopt::SockType)? != SockType::SeqPacket {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    descriptor::take_over(fd)
}

/// Sends one packet. Waits while the send buffer has no room, because the other end has not read earlier packets.
///
/// # Errors
/// `InvalidInput` for more than [`MAX_FDS`] descriptors, and for an empty packet, which the receiver could not tell
/// from the end of the stream. Those of sendmsg(2): `EMSGSIZE` when the packet is larger than the pair allows, `EPIPE`
/// when the other end is closed (without SIGPIPE).
pub fn send(fd: BorrowedFd, bytes: &[u8], fds: &[BorrowedFd]) -> io::Result<()> {
    send_with(fd, bytes, fds, MsgFlags::empty())
}

/// Sends one packet as [`send`] does, but without waiting.
///
/// # Errors
/// The errors of [`send`]; `WouldBlock` when the send buffer has no room.
pub fn send_now(fd: BorrowedFd, bytes: &[u8], fds: &[BorrowedFd]) -> io::Result<()> {
    send_with(fd, bytes, fds, MsgFlags::MSG_DONTWAIT)
}

fn send_with(fd: BorrowedFd, bytes: &[u8], fds: &[BorrowedFd], flags: MsgFlags) -> io::Result<()> {
    if bytes.is_empty() || fds.len() > MAX_FDS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control = if numbers.is_empty() { &[] } else { &rights[..] };
    let parts = [IoSlice::new(bytes)];
    loop {
        let flags = flags | MsgFlags::MSG_NOSIGNAL;
        match socket::sendmsg::<()>(fd.as_raw_fd(), &parts, control, flags, None) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives one packet; on a blocking descriptor, waits until a packet arrives. Replaces the contents of `buf` by the
/// bytes of the packet, and the contents of `fds` by its descriptors (close-on-exec).
///
/// Returns the size of the packet. Returns 0 when the other end is closed and all its packets were received.
///
/// # Errors
/// Those of recvmsg(2). `EMFILE` when this process has too many open descriptors, and some descriptors of the packet
/// were lost; the other descriptors of the packet are in `fds`.
pub fn recv(fd: BorrowedFd, buf: &mut Vec<u8>, fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    buf.clear();
    fds.clear();
    let size = peek_size(fd)?;
    if size == 0 {
        return Ok(0);
    }
    buf.resize(size, 0);
    let mut control = ControlBuffer::default();
    let received = retried(|| {
        let mut parts = [IoSliceMut::new(buf)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message =
            socket::recvmsg::<()>(fd.as_raw_fd(), &mut parts, Some(&mut control.0), flags)?;
        Ok((message.bytes, message.flags))
    });
    let (size, flags) = received.inspect_err(|_| buf.clear())?;
    buf.truncate(size);
    // nix's RecvMsg::cmsgs is not used: if some descriptors were lost it returns no descriptor, and the received ones
    // would stay open
    for number in control.descriptors() {
        // SAFETY: recvmsg has just opened this descriptor, nothing else owns it, and each number is read once.
        fds.push(unsafe { descriptor::own(number) });
    }
    if flags.contains(MsgFlags::MSG_CTRUNC) {
        buf.clear();
        return Err(Errno::EMFILE.into());
    }
    Ok(size)
}

/// Returns the size of the next packet without removing it; 0 when the other end is closed. Waits as [`recv`] does.
fn peek_size(fd: BorrowedFd) -> io::Result<usize> {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC;
    retried(|| socket::recv(fd.as_raw_fd(), &mut [], flags))
}

/// Repeats `receive` while it fails with `EINTR` or `ECONNRESET`. `ECONNRESET` means that the other end was closed
/// before it had read all packets of this process. The kernel reports this error once, before it delivers the packets
/// of the other end.
fn retried<T>(mut receive: impl FnMut() -> nix::Result<T>) -> io::Result<T> {
    loop {
        match receive() {
            Err(Errno::EINTR | Errno::ECONNRESET) => {}
            other => return Ok(other?),
        }
    }
}

/// Size of a control message's header and the padding after it, bytes. The data follows.
const HEADER: usize = mem::size_of::<libc::cmsghdr>().next_multiple_of(mem::align_of::<usize>());

/// Buffer for a control message with [`KERNEL_MAX_FDS`] descriptors, aligned for the message's header.
#[repr(C, align(8))]
struct ControlBuffer([u8; CONTROL_BYTES]);

const CONTROL_BYTES: usize = socket::cmsg_space::<[RawFd; KERNEL_MAX_FDS]>();

impl Default for ControlBuffer {
    fn default() -> Self {
        Self([0; CONTROL_BYTES])
    }
}

impl ControlBuffer {
    /// The descriptors that recvmsg(2) has written to this buffer. The buffer must have been zero before the call.
    ///
    /// The buffer holds at most one control message: the kernel puts all descriptors of a packet into one message, and
    /// the pair has no socket option that adds further messages.
    fn descriptors(&self) -> impl Iterator<Item = RawFd> + '_ {
        let len = self
            .0
            .first_chunk()
            .map_or(0, |len| usize::from_ne_bytes(*len));
        let kind = |at: usize| {
            let bytes = self.0.get(at..).and_then(<[u8]>::first_chunk);
            bytes.map(|bytes| i32::from_ne_bytes(*bytes))
        };
        let is_rights = kind(mem::offset_of!(libc::cmsghdr, cmsg_level)) == Some(libc::SOL_SOCKET)
            && kind(mem::offset_of!(libc::cmsghdr, cmsg_type)) == Some(libc::SCM_RIGHTS);
        let data = self.0.get(HEADER..len).filter(|_| is_rights);
        let numbers = data
            .unwrap_or_default()
            .chunks_exact(mem::size_of::<RawFd>());
        numbers.filter_map(|number| Some(RawFd::from_ne_bytes(number.try_into().ok()?)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    fn receive(fd: &OwnedFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let (mut buf, mut fds) = (vec![9; 3], Vec::new());
        let n = recv(fd.as_fd(), &mut buf, &mut fds)?;
        assert_eq!(n, buf.len());
        Ok((buf, fds))
    }

    #[test]
    fn packets_arrive_whole_and_in_order() {
        let (a, b) = pair().unwrap();
        send(a.as_fd(), b"one", &[]).unwrap();
        send(a.as_fd(), b"the second", &[]).unwrap();
        assert_eq!(receive(&b).unwrap().0, b"one");
        assert_eq!(receive(&b).unwrap().0, b"the second");
    }

    #[test]
    fn descriptors_travel_close_on_exec() {
        let (a, b) = pair().unwrap();
        let (read, mut write) = io::pipe().unwrap();
        let many = vec![read.as_fd(); MAX_FDS];
        send(a.as_fd(), b"x", &many).unwrap();
        let (_, fds) = receive(&b).unwrap();
        assert_eq!(fds.len(), MAX_FDS);
        let flags = nix::fcntl::fcntl(&fds[5], nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, libc::FD_CLOEXEC);
        write.write_all(b"through").unwrap();
        drop(write);
        let mut text = String::new();
        File::from(fds.into_iter().next().unwrap())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn descriptors_that_arrive_before_the_limit_are_kept_when_others_are_lost() {
        // the test runs in a child process, because the limit of descriptors applies to the whole process: see
        // `child_with_few_descriptors`
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "--test-threads=1"])
            .arg("sys::packet::tests::child_with_few_descriptors")
            .env(FEW, "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    const FEW: &str = "RUWSGI_TEST_FEW_DESCRIPTORS";

    /// Runs in a separate process.
    #[test]
    fn child_with_few_descriptors() {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        if std::env::var_os(FEW).is_none() {
            return;
        }
        let (a, b) = pair().unwrap();
        let (read, _write) = io::pipe().unwrap();
        send(a.as_fd(), b"x", &[read.as_fd(); 10]).unwrap();
        let next = read.try_clone().unwrap().as_raw_fd() as u64;
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, next + 4, hard).unwrap();
        let free = || {
            let files: Vec<_> = (0..10).map_while(|_| read.try_clone().ok()).collect();
            files.len()
        };
        let before = free();
        assert!((1..=4).contains(&before), "{before}");
        let (mut buf, mut fds) = (Vec::new(), Vec::new());
        let error = recv(b.as_fd(), &mut buf, &mut fds).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        assert_eq!(fds.len(), before);
        drop(fds);
        assert_eq!(free(), before);
    }

    #[test]
    fn the_other_end_gone_is_end_of_file_after_its_last_packet() {
        let (a, b) = pair().unwrap();
        send(a.as_fd(), b"last words", &[]).unwrap();
        send(b.as_fd(), b"never read", &[]).unwrap();
        drop(a);
        assert_eq!(receive(&b).unwrap().0, b"last words");
        assert_eq!(receive(&b).unwrap().0, b"");
        let error = send(b.as_fd(), b"too late", &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn large_packets_pass_and_too_large_ones_are_refused() {
        let (a, b) = pair().unwrap();
        let size = if nix::unistd::geteuid().is_root() {
            1 << 20
        } else {
            150_000
        };
        let large: Vec<u8> = (0..size).map(|i| i as u8).collect();
        send(a.as_fd(), &large, &[]).unwrap();
        assert!(receive(&b).unwrap().0 == large);
        let error = send(a.as_fd(), &vec![0; 64 << 20], &[]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    }

    #[test]
    fn sending_to_a_peer_that_does_not_read_need_not_wait() {
        let (a, _b) = pair().unwrap();
        let error = loop {
            if let Err(error) = send_now(a.as_fd(), &[0; 1000], &[]) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn an_empty_packet_and_too_many_descriptors_are_refused() {
        let (a, b) = pair().unwrap();
        assert!(send(a.as_fd(), b"", &[]).is_err());
        let many = vec![b.as_fd(); MAX_FDS + 1];
        assert!(send(a.as_fd(), b"x", &many).is_err());
    }
}
