//! The calls of the request path, each one system call: accept, receive, send, sendfile, and epoll.
//!
//! Connections are non-blocking; only `accept` on a blocking listener waits. `WouldBlock` is told apart
//! from other errors by its kind, and `Interrupted` reaches the caller of [`accept`], who may be retiring.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

fn check(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Accepts a connection, non-blocking and close-on-exec, without asking for the peer's address.
///
/// # Errors
/// Those of accept4(2), `Interrupted` among them.
pub fn accept(listener: RawFd) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: null address and length are allowed and mean that the address is not wanted.
    let fd = unsafe { libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), flags) };
    check(fd as isize)?;
    // SAFETY: accept4 returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// As [`accept`], with the peer's address where it is one of the Internet's.
///
/// # Errors
/// Those of accept4(2), `Interrupted` among them.
pub fn accept_from(listener: RawFd) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the storage is as large as its length says.
    let fd = unsafe { libc::accept4(listener, storage.as_mut_ptr().cast(), &raw mut len, flags) };
    check(fd as isize)?;
    // SAFETY: accept4 returned a new descriptor that nobody else owns.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: zeroed at first, and the kernel wrote a valid address.
    Ok((fd, address(unsafe { storage.assume_init_ref() })))
}

fn address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let start: *const libc::sockaddr_storage = storage;
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage holds a sockaddr_in.
            let v4 = unsafe { &*start.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the storage holds a sockaddr_in6.
            let v6 = unsafe { &*start.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddr::new(
                ip.to_canonical(),
                u16::from_be(v6.sin6_port),
            ))
        }
        _ => None,
    }
}

/// The address that a connection came to, where it is one of the Internet's.
pub fn local_address(fd: BorrowedFd<'_>) -> Option<SocketAddr> {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: the storage is as large as its length says.
    let done =
        unsafe { libc::getsockname(fd.as_raw_fd(), storage.as_mut_ptr().cast(), &raw mut len) };
    // SAFETY: zeroed at first, and written by the kernel on success.
    (done == 0)
        .then(|| address(unsafe { storage.assume_init_ref() }))
        .flatten()
}

/// Appends what has arrived to `buffer`, at most `limit` bytes of it; 0 means end of stream.
///
/// # Errors
/// Those of recv(2): `WouldBlock` when nothing is there.
pub fn recv_into(fd: RawFd, buffer: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
    buffer.reserve(limit.min(1 << 16));
    let spare = buffer.spare_capacity_mut();
    let room = spare.len().min(limit);
    let got = loop {
        // SAFETY: `room` bytes of spare capacity belong to the vector.
        match check(unsafe { libc::recv(fd, spare.as_mut_ptr().cast(), room, libc::MSG_DONTWAIT) })
        {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    // SAFETY: the kernel has initialised `got` bytes past the old length.
    unsafe { buffer.set_len(buffer.len() + got) };
    Ok(got)
}

/// Sends as much as the socket takes.
///
/// # Errors
/// Those of sendmsg(2): `WouldBlock` when it takes nothing now, `BrokenPipe` when the peer is gone (no signal).
pub fn send(fd: RawFd, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    const FLAGS: libc::c_int = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: an all-zero msghdr is valid: no name, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_ptr().cast_mut().cast();
    message.msg_iovlen = parts.len();
    loop {
        let sent = match parts {
            // most answers are in one piece, and the kernel has less to copy and check for it
            // SAFETY: the part outlives the call, which only reads it.
            [one] => unsafe { libc::send(fd, one.as_ptr().cast(), one.len(), FLAGS) },
            // SAFETY: IoSlice has the layout of iovec; the parts outlive the call, which only reads them.
            _ => unsafe { libc::sendmsg(fd, &raw const message, FLAGS) },
        };
        match check(sent) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Sends up to `count` bytes of a file from `offset`, which it advances; 0 means that the file ends there.
///
/// # Errors
/// Those of sendfile(2): `WouldBlock` when the socket takes nothing now.
pub fn sendfile(socket: RawFd, file: RawFd, offset: &mut u64, count: u64) -> io::Result<usize> {
    let mut position = i64::try_from(*offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    // the kernel sends at most this much in one call
    let count = usize::try_from(count)
        .unwrap_or(usize::MAX)
        .min(0x7fff_f000);
    let sent = loop {
        // SAFETY: plain numbers and a pointer to a local.
        match check(unsafe { libc::sendfile(socket, file, &raw mut position, count) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    *offset += sent as u64;
    Ok(sent)
}

/// Tells the peer that no more will come, while its own bytes can still be read.
pub fn shut_down_writing(fd: RawFd) {
    // SAFETY: plain numbers. A failure means that the peer is gone already.
    unsafe { libc::shutdown(fd, libc::SHUT_WR) };
}

/// Makes the coming close of a TCP connection a reset, so that its peer cannot take what it has for the whole.
pub fn reset_on_close(fd: RawFd) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: option value and length agree. Unix sockets ignore it.
    unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
}

/// Switches Nagle's delay off; has no effect on Unix sockets.
pub fn send_at_once(fd: RawFd) {
    let on: libc::c_int = 1;
    // SAFETY: option value and length agree.
    unsafe {
        libc::setsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
}

/// Waits until the socket takes bytes again, at most `timeout_ms`; says whether it does.
pub fn wait_writable(fd: RawFd, timeout_ms: i32) -> bool {
    wait(fd, libc::POLLOUT, timeout_ms)
}

/// Waits until there is something to read (or the end), at most `timeout_ms`; says whether there is.
pub fn wait_readable(fd: RawFd, timeout_ms: i32) -> bool {
    wait(fd, libc::POLLIN, timeout_ms)
}

fn wait(fd: RawFd, events: libc::c_short, timeout_ms: i32) -> bool {
    let mut entry = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    // SAFETY: one entry, as the count says. Interrupted counts as not ready: the caller asks again.
    unsafe { libc::poll(&raw mut entry, 1, timeout_ms) == 1 }
}

/// Keeps a descriptor from programs that this process executes.
///
/// # Errors
/// Those of fcntl(2).
pub fn close_on_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } as isize)?;
    Ok(())
}

/// An epoll instance whose entries carry a `u64` of the caller's.
pub struct Epoll(OwnedFd);

/// What an entry waits for.
#[derive(Clone, Copy)]
pub enum Interest {
    /// Bytes or the end of the stream.
    Read,
    /// The same, told once until [`Epoll::change`] asks again.
    ReadOnce,
    /// A new connection, told to one of the processes that wait for it.
    Accept,
    /// Room to write.
    Write,
}

impl Interest {
    fn bits(self) -> u32 {
        (match self {
            Self::Read => libc::EPOLLIN | libc::EPOLLRDHUP,
            Self::ReadOnce => libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLONESHOT,
            Self::Accept => libc::EPOLLIN | libc::EPOLLEXCLUSIVE,
            Self::Write => libc::EPOLLOUT,
        }) as u32
    }
}

impl Epoll {
    /// A new instance, close-on-exec.
    ///
    /// # Errors
    /// Those of epoll_create1(2).
    pub fn new() -> io::Result<Self> {
        // SAFETY: a plain number; the result is checked before it is owned.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        check(fd as isize)?;
        // SAFETY: a new descriptor that nobody else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn control(&self, operation: i32, fd: RawFd, interest: Interest, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: interest.bits(),
            u64: token,
        };
        // SAFETY: the event is a local that the kernel only reads.
        let result = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd, &raw mut event) };
        check(result as isize)?;
        Ok(())
    }

    /// Watches a descriptor.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn add(&self, fd: RawFd, interest: Interest, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, interest, token)
    }

    /// Watches it for something else.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn change(&self, fd: RawFd, interest: Interest, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, interest, token)
    }

    /// Watches it no longer. Nothing happens if it was not watched.
    pub fn remove(&self, fd: RawFd) {
        // SAFETY: the event is not read for this operation.
        unsafe {
            libc::epoll_ctl(
                self.0.as_raw_fd(),
                libc::EPOLL_CTL_DEL,
                fd,
                std::ptr::null_mut(),
            )
        };
    }

    /// Waits for events, at most `timeout_ms` (-1: for ever); their tokens come into `tokens`, at most `most` of them.
    /// Interrupted by a signal, it returns with none.
    ///
    /// # Errors
    /// Those of epoll_wait(2).
    pub fn wait(&self, tokens: &mut Vec<u64>, most: usize, timeout_ms: i32) -> io::Result<()> {
        const MOST: usize = 64;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; MOST];
        tokens.clear();
        let most = most.min(MOST) as i32;
        // SAFETY: the array holds at least `most` events.
        let count =
            unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), most, timeout_ms) };
        match check(count as isize) {
            Ok(count) => tokens.extend(events.iter().take(count).map(|event| event.u64)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// A counter that wakes whoever waits for it.
pub struct Bell(OwnedFd);

impl Bell {
    /// A silent bell. As a semaphore, each ring is taken by one [`Bell::hush`].
    ///
    /// # Errors
    /// Those of eventfd(2).
    pub fn new(semaphore: bool) -> io::Result<Self> {
        let mut flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK;
        if semaphore {
            flags |= libc::EFD_SEMAPHORE;
        }
        // SAFETY: plain numbers; the result is checked before it is owned.
        let fd = unsafe { libc::eventfd(0, flags) };
        check(fd as isize)?;
        // SAFETY: a new descriptor that nobody else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// For [`Epoll::add`].
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Rings. Async-signal-safe. It cannot fail but when the counter is full, and then it rings already.
    pub fn ring(&self) {
        ring(self.fd());
    }

    /// Takes the ring, or one of them.
    pub fn hush(&self) -> bool {
        let mut count = 0u64;
        // SAFETY: eight bytes, as eventfd wants.
        unsafe { libc::read(self.fd(), (&raw mut count).cast(), 8) == 8 }
    }
}

/// Rings the bell with this descriptor; for signal handlers, which have no more than a number.
pub fn ring(fd: RawFd) {
    let one = 1u64;
    // SAFETY: eight bytes, as eventfd wants; write(2) is async-signal-safe.
    unsafe { libc::write(fd, (&raw const one).cast(), 8) };
}

/// A file that is nowhere but in memory, closed by exec.
///
/// # Errors
/// Those of memfd_create(2).
pub fn memory_file(name: &str) -> io::Result<std::fs::File> {
    let fd = nix::sys::memfd::memfd_create(name, nix::sys::memfd::MFdFlags::MFD_CLOEXEC)?;
    Ok(fd.into())
}

/// Has every write to a file go to its end.
///
/// # Errors
/// Those of fcntl(2).
pub fn append_only(file: &std::fs::File) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(())
}
