//! Listening stream sockets: made, adopted, examined.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    self, AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, getsockopt,
    setsockopt, sockopt,
};
use nix::sys::stat::{self, SFlag};

use super::descriptor;

/// Longest path of a Unix socket, bytes.
pub const MAX_UNIX_PATH: usize = 107;

/// Settings of a TCP listener; accepted connections inherit keep-alive and no-delay.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpSettings {
    /// `SO_REUSEPORT`: other processes may listen on the same port.
    pub reuse_port: bool,
    /// `SO_KEEPALIVE`.
    pub keepalive: bool,
    /// `IPV6_V6ONLY`: leave the IPv4 side of a wildcard address to another socket.
    pub v6_only: bool,
}

/// Makes a Unix stream socket bound to `path`, not yet listening: nobody can connect before [`listen`].
pub fn bind_unix(path: &Path) -> io::Result<OwnedFd> {
    let socket = stream(AddressFamily::Unix)?;
    socket::bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}

/// Makes a Unix stream socket bound to `path` and listening.
pub fn listen_unix(path: &Path, backlog: u32) -> io::Result<OwnedFd> {
    let socket = bind_unix(path)?;
    listen(socket.as_fd(), backlog)?;
    Ok(socket)
}

/// Makes a listening socket in Linux's abstract namespace; `name` is without the leading NUL.
pub fn listen_abstract(name: &[u8], backlog: u32) -> io::Result<OwnedFd> {
    let socket = stream(AddressFamily::Unix)?;
    socket::bind(socket.as_raw_fd(), &UnixAddr::new_abstract(name)?)?;
    listen(socket.as_fd(), backlog)?;
    Ok(socket)
}

/// Makes a listening TCP socket.
pub fn listen_tcp(address: SocketAddr, backlog: u32, settings: TcpSettings) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let socket = stream(family)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if settings.reuse_port {
        setsockopt(&socket, sockopt::ReusePort, &true)?;
    }
    if settings.v6_only && address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    set_keepalive(&socket, settings.keepalive)?;
    set_nodelay(&socket)?;
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(socket.as_fd(), backlog)?;
    Ok(socket)
}

fn stream(family: AddressFamily) -> io::Result<OwnedFd> {
    Ok(socket::socket(
        family,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?)
}

/// Lets clients connect, or changes the backlog of a socket that listens already. More than
/// [`somaxconn`] is cut by the kernel.
pub fn listen(socket: BorrowedFd, backlog: u32) -> io::Result<()> {
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    // SAFETY: the descriptor is open; no memory is passed. (nix refuses more than 4096.)
    let result = unsafe { libc::listen(socket.as_raw_fd(), backlog) };
    Errno::result(result)?;
    Ok(())
}

/// The machine's largest backlog, `net.core.somaxconn`.
pub fn somaxconn() -> u32 {
    let text = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    // the kernel's own default, where /proc is not mounted
    text.trim().parse().unwrap_or(4096)
}

/// Why a descriptor cannot be taken over as a listening socket.
#[derive(thiserror::Error, Debug, PartialEq, Eq)]
pub enum AdoptError {
    /// There is no such descriptor.
    #[error("descriptor {0} is not open")]
    NotOpen(RawFd),
    /// It is something else.
    #[error("descriptor {0} is {1}, not a socket")]
    NotASocket(RawFd, &'static str),
    /// It is a socket of another kind.
    #[error("descriptor {0} is a socket, but not a stream socket")]
    NotAStream(RawFd),
    /// It is a connection, or was never told to listen.
    #[error("descriptor {0} is a socket, but does not listen")]
    NotListening(RawFd),
    /// The kernel refused to say.
    #[error("descriptor {0} cannot be examined: {1}")]
    Kernel(RawFd, Errno),
}

/// Says whether descriptor `fd` is a listening stream socket, and what is wrong otherwise.
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

/// Whether it is a listening stream socket. Nothing is asked of a file system, which might keep who asks waiting.
pub fn listens(fd: BorrowedFd) -> bool {
    let is_stream = getsockopt(&fd, sockopt::SockType) == Ok(SockType::Stream);
    is_stream && getsockopt(&fd, sockopt::AcceptConn) == Ok(true)
}

fn kind_named(kind: SFlag) -> &'static str {
    match kind {
        SFlag::S_IFREG => "a regular file",
        SFlag::S_IFDIR => "a directory",
        SFlag::S_IFCHR => "a character device",
        SFlag::S_IFBLK => "a block device",
        SFlag::S_IFIFO => "a pipe",
        SFlag::S_IFLNK => "a symbolic link",
        _ => "something else",
    }
}

/// Takes over a listening stream socket that this process inherited, and makes it close-on-exec.
///
/// The caller must be the only one to take this descriptor. Descriptor 0 is moved, and `/dev/null` put in
/// its place.
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
        super::stdio::close_input().map_err(failed)?;
    }
    Ok(moved)
}

/// The user at the other end of a connected Unix socket.
///
/// # Errors
/// Those of getsockopt(2).
pub fn peer_user(socket: BorrowedFd) -> io::Result<u32> {
    Ok(nix::sys::socket::getsockopt(&socket, sockopt::PeerCredentials)?.uid())
}

/// Who is at the other end of a stream socket; `None` for one that is not connected, for another kind of socket, and for a
/// peer without a name, as in a pair.
pub fn stream_peer(fd: RawFd) -> Option<String> {
    let socket = descriptor::borrow(&fd).ok()?;
    let kind = getsockopt(&socket, sockopt::SockType).ok()?;
    if !matches!(kind, SockType::Stream | SockType::SeqPacket) {
        return None;
    }
    let peer: SockaddrStorage = socket::getpeername(fd).ok()?;
    match peer.as_unix_addr() {
        Some(address) => {
            let path = address.path().map(|path| path.display().to_string());
            let name = address.as_abstract();
            path.or_else(|| name.map(|name| format!("@{}", name.escape_ascii())))
        }
        None => Some(peer.to_string()),
    }
}

/// What stands at a path where a Unix socket shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Somebody listens there.
    Live,
    /// A socket file nobody listens on, with its device and inode.
    Stale(FileId),
    /// Another kind of file: which.
    NotASocket(&'static str),
    /// Nothing.
    Absent,
}

/// Device and inode: what makes a file itself, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    /// The device.
    pub device: u64,
    /// The inode.
    pub inode: u64,
}

impl FileId {
    /// Of the file at `path`, symbolic links not followed.
    pub fn of(path: &Path) -> io::Result<Self> {
        let stat = stat::lstat(path)?;
        Ok(FileId {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }
}

/// Finds out what stands at `path`, by trying to connect. An error (no permission, say) means that it cannot
/// be known.
pub fn probe_unix(path: &Path) -> io::Result<Probe> {
    let stat = match stat::lstat(path) {
        Ok(stat) => stat,
        Err(Errno::ENOENT) => return Ok(Probe::Absent),
        Err(e) => return Err(e.into()),
    };
    let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    if kind != SFlag::S_IFSOCK {
        return Ok(Probe::NotASocket(kind_named(kind)));
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) | Err(Errno::EAGAIN | Errno::EINPROGRESS) => Ok(Probe::Live),
        // a socket of another type, with an owner
        Err(Errno::EPROTOTYPE) => Ok(Probe::Live),
        Err(Errno::ECONNREFUSED) => Ok(Probe::Stale(FileId {
            device: stat.st_dev,
            inode: stat.st_ino,
        })),
        Err(Errno::ENOENT) => Ok(Probe::Absent),
        Err(e) => Err(e.into()),
    }
}

/// Where a socket is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalAddress {
    /// A path.
    Unix(PathBuf),
    /// A name in the abstract namespace, without the leading NUL.
    Abstract(Vec<u8>),
    /// An IP address and port.
    Tcp(SocketAddr),
    /// A family we do not serve, or a Unix socket without a name.
    Other,
}

/// The address that a socket is bound to.
pub fn local_address(socket: BorrowedFd) -> io::Result<LocalAddress> {
    let address: SockaddrStorage = socket::getsockname(socket.as_raw_fd())?;
    if let Some(v4) = address.as_sockaddr_in() {
        return Ok(LocalAddress::Tcp(SocketAddr::V4((*v4).into())));
    }
    if let Some(v6) = address.as_sockaddr_in6() {
        return Ok(LocalAddress::Tcp(SocketAddr::V6((*v6).into())));
    }
    if address.family() != Some(AddressFamily::Unix) {
        return Ok(LocalAddress::Other);
    }
    let unix: UnixAddr = socket::getsockname(socket.as_raw_fd())?;
    Ok(match (unix.path(), unix.as_abstract()) {
        (Some(path), _) => LocalAddress::Unix(path.to_owned()),
        (None, Some(name)) => LocalAddress::Abstract(name.to_owned()),
        (None, None) => LocalAddress::Other,
    })
}

/// Makes calls on a descriptor return instead of wait, or the reverse; for every process that shares it.
pub fn set_nonblocking(fd: impl AsFd, on: bool) -> io::Result<()> {
    let fd = fd.as_fd();
    let before = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    let mut after = before;
    after.set(OFlag::O_NONBLOCK, on);
    if after != before {
        fcntl(fd, FcntlArg::F_SETFL(after))?;
    }
    Ok(())
}

/// Sets `SO_KEEPALIVE`; connections accepted later inherit it.
pub fn set_keepalive(socket: &impl AsFd, on: bool) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::KeepAlive, &on)?)
}

/// Sets `TCP_NODELAY`; connections accepted later inherit it.
pub fn set_nodelay(socket: &impl AsFd) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::TcpNoDelay, &true)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::IntoRawFd;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    #[test]
    fn a_path_is_absent_live_stale_or_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        assert_eq!(probe_unix(&path).unwrap(), Probe::Absent);
        let listener = listen_unix(&path, 5).unwrap();
        assert_eq!(probe_unix(&path).unwrap(), Probe::Live);
        let id = FileId::of(&path).unwrap();
        drop(listener);
        while probe_unix(&path).unwrap() == Probe::Live {
            // a program that another test is starting may hold it a moment longer
            std::thread::yield_now();
        }
        assert_eq!(probe_unix(&path).unwrap(), Probe::Stale(id));
        std::fs::write(dir.path().join("f"), "x").unwrap();
        let file = probe_unix(&dir.path().join("f")).unwrap();
        assert_eq!(file, Probe::NotASocket("a regular file"));
        assert_eq!(
            probe_unix(dir.path()).unwrap(),
            Probe::NotASocket("a directory")
        );
    }

    #[test]
    fn a_socket_with_a_full_backlog_or_of_another_type_is_live() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("full");
        let _listener = listen_unix(&path, 0).unwrap();
        let _waiting = UnixStream::connect(&path).unwrap();
        assert_eq!(probe_unix(&path).unwrap(), Probe::Live);
        let path = dir.path().join("datagram");
        let _datagram = UnixDatagram::bind(&path).unwrap();
        assert_eq!(probe_unix(&path).unwrap(), Probe::Live);
    }

    #[test]
    fn nobody_can_connect_before_listen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let socket = bind_unix(&path).unwrap();
        assert!(UnixStream::connect(&path).is_err());
        listen(socket.as_fd(), 5).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn addresses_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let unix = listen_unix(&path, 5).unwrap();
        assert_eq!(
            local_address(unix.as_fd()).unwrap(),
            LocalAddress::Unix(path)
        );
        let name = format!("ruwsgi-test-{}", std::process::id());
        let hidden = listen_abstract(name.as_bytes(), 5).unwrap();
        let expected = LocalAddress::Abstract(name.into_bytes());
        assert_eq!(local_address(hidden.as_fd()).unwrap(), expected);
        let any = "127.0.0.1:0".parse().unwrap();
        let tcp = listen_tcp(any, 5, TcpSettings::default()).unwrap();
        let LocalAddress::Tcp(bound) = local_address(tcp.as_fd()).unwrap() else {
            panic!("not TCP");
        };
        assert!(bound.port() != 0);
    }

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

    #[test]
    fn a_listener_is_close_on_exec_and_can_be_made_nonblocking() {
        let listener = UnixListener::bind(tempfile::tempdir().unwrap().path().join("s")).unwrap();
        set_nonblocking(&listener, true).unwrap();
        let error = listener.accept().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        set_nonblocking(&listener, false).unwrap();
        assert!(somaxconn() > 0);
    }
}
