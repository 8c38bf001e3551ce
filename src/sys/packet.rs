//! Packets with descriptors beside them, over a `SOCK_SEQPACKET` pair.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, setsockopt, sockopt};

/// The most descriptors one packet carries.
pub const MAX_FDS: usize = 64;

/// The most that the kernel lets one packet carry: who does not hold to [`MAX_FDS`] loses none on the way.
const KERNEL_MOST: usize = 253;

/// Packets of a little more than 1 MiB pass (the kernel doubles the figure for its bookkeeping).
const SEND_BUFFER: usize = 1 << 20;

/// Makes a connected pair; both ends are close-on-exec and blocking.
///
/// Packets of 1 MiB pass when the caller is root, of at least `net.core.wmem_max` (about 200 KiB) otherwise.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (a, b) = socket::socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    for end in [&a, &b] {
        if setsockopt(end, sockopt::SndBufForce, &SEND_BUFFER).is_err() {
            // without the privilege the kernel cuts the figure to what is allowed
            setsockopt(end, sockopt::SndBuf, &SEND_BUFFER)?;
        }
    }
    Ok((a, b))
}

/// Takes over one end of such a pair that this process inherited, and makes it close-on-exec.
///
/// The caller must be the only one to take this descriptor.
///
/// # Errors
/// When it is not open or no such end.
pub fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    if fd <= 2 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: fcntl does not mind a descriptor that is not open; then it says so.
    nix::errno::Errno::result(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, as was just seen, and nothing closes it during the call.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    if socket::getsockopt(&borrowed, sockopt::SockType)? != SockType::SeqPacket {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: it is open, and by the contract nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Room for the descriptors' control message, aligned as the kernel wants it.
#[repr(C)]
union Control {
    header: libc::cmsghdr,
    bytes: [u8; 1088],
}

impl Control {
    fn zeroed() -> Self {
        Control { bytes: [0; 1088] }
    }
}

const FDS_BYTES: u32 = (KERNEL_MOST * mem::size_of::<RawFd>()) as u32;
// SAFETY: CMSG_SPACE only computes.
const _: () = assert!(unsafe { libc::CMSG_SPACE(FDS_BYTES) } as usize <= mem::size_of::<Control>());

/// Sends one packet.
///
/// An empty packet is refused (it would read as the end of file), and so are more than [`MAX_FDS`]
/// descriptors. `EMSGSIZE` says that the packet is larger than the pair allows, `EPIPE` that the other
/// end is gone; no signal is raised.
pub fn send(fd: BorrowedFd, bytes: &[u8], fds: &[BorrowedFd]) -> io::Result<()> {
    if bytes.is_empty() || fds.len() > MAX_FDS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut control = Control::zeroed();
    let mut iov = libc::iovec {
        iov_base: bytes.as_ptr() as *mut libc::c_void,
        iov_len: bytes.len(),
    };
    let mut message = empty_message(&mut iov);
    if !fds.is_empty() {
        let size = mem::size_of_val(fds) as u32;
        message.msg_control = ptr::from_mut(&mut control).cast();
        // SAFETY: CMSG_SPACE and CMSG_LEN only compute; `control` has room for more than MAX_FDS descriptors (asserted
        // above), so the first header and its data lie inside it; BorrowedFd has RawFd's representation.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size) as usize;
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size) as usize;
            ptr::copy_nonoverlapping(
                fds.as_ptr().cast::<u8>(),
                libc::CMSG_DATA(header),
                size as usize,
            );
        }
    }
    loop {
        // SAFETY: `message` points to `bytes` and `control`, which outlive the call.
        let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &message, libc::MSG_NOSIGNAL) };
        match checked(sent) {
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        }
    }
}

/// Receives one packet, whole: `buf` is replaced by its bytes, `fds` by its descriptors (close-on-exec).
///
/// Returns the packet's size, 0 when the other end is gone. Packets sent before the other end went
/// are still received. `EMFILE` says that a descriptor got lost because this process has too many. What did arrive is in
/// `fds` after an error, too.
pub fn recv(fd: BorrowedFd, buf: &mut Vec<u8>, fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    buf.clear();
    fds.clear();
    let size = peek_size(fd)?;
    if size == 0 {
        return Ok(0);
    }
    buf.resize(size, 0);
    let mut control = Control::zeroed();
    let mut iov = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: size,
    };
    let mut message = empty_message(&mut iov);
    message.msg_control = ptr::from_mut(&mut control).cast();
    message.msg_controllen = mem::size_of::<Control>();
    // SAFETY: `message` points to `buf` and `control`, which outlive the call, with their true sizes.
    let received =
        retried(|| unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) });
    let received = match received {
        Ok(n) => n,
        Err(e) => {
            buf.clear();
            return Err(e);
        }
    };
    buf.truncate(received);
    // SAFETY: recvmsg has just filled `message` and `control`.
    unsafe { take_fds(&message, fds) };
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        buf.clear();
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    }
    Ok(received)
}

fn peek_size(fd: BorrowedFd) -> io::Result<usize> {
    let flags = libc::MSG_PEEK | libc::MSG_TRUNC;
    // SAFETY: nothing is written: the length is 0.
    retried(|| unsafe { libc::recv(fd.as_raw_fd(), ptr::null_mut(), 0, flags) })
}

/// Repeats a receive that a signal interrupted, or that reported only that the other end went with
/// packets of ours unread: that error comes once, ahead of what the other end had still sent.
fn retried(mut receive: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match checked(receive()) {
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionReset
                ) => {}
            other => return other,
        }
    }
}

fn checked(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn empty_message(iov: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: a msghdr of zeros is a valid, empty message.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = iov;
    message.msg_iovlen = 1;
    message
}

/// Takes the descriptors out of a received message.
///
/// # Safety
/// `message` must have been filled by `recvmsg`, its control buffer be alive, and nobody else may have
/// taken its descriptors.
unsafe fn take_fds(message: &libc::msghdr, fds: &mut Vec<OwnedFd>) {
    // SAFETY: by the contract the headers are the kernel's own, so each lies within the control buffer and
    // tells its data's true length; each descriptor is new and ours alone.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                let bytes = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                for i in 0..bytes / mem::size_of::<RawFd>() {
                    fds.push(OwnedFd::from_raw_fd(ptr::read_unaligned(data.add(i))));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
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
    fn an_empty_packet_and_too_many_descriptors_are_refused() {
        let (a, b) = pair().unwrap();
        assert!(send(a.as_fd(), b"", &[]).is_err());
        let many = vec![b.as_fd(); MAX_FDS + 1];
        assert!(send(a.as_fd(), b"x", &many).is_err());
    }
}
