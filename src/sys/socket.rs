//! Creates listening sockets, and examines sockets, addresses and socket files.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, getsockopt,
    setsockopt, sockopt,
};
use nix::sys::stat::{self, SFlag};

use super::descriptor;

pub use super::descriptor::set_nonblocking;

/// Maximum length of the path of a Unix socket, bytes: unix(7).
pub const MAX_UNIX_PATH: usize = 107;

/// Settings of a TCP listener; accepted connections inherit keep-alive and no-delay.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpSettings {
    /// `SO_REUSEPORT`: whether other processes may listen on the same port.
    pub reuse_port: bool,
    /// `IP_FREEBIND`: whether the socket may be bound to an address that no interface has.
    pub freebind: bool,
    /// `SO_KEEPALIVE`: whether the kernel tests idle connections.
    pub keepalive: bool,
    /// `IPV6_V6ONLY`: whether the socket leaves the IPv4 side of a wildcard address to another socket.
    pub v6_only: bool,
}

/// Creates a Unix stream socket bound to `path`. Clients cannot connect before [`listen`].
///
/// # Errors
/// Those of bind(2).
pub fn bind_unix(path: &Path) -> io::Result<OwnedFd> {
    let socket = stream(AddressFamily::Unix)?;
    socket::bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}

/// Creates a Unix stream socket that listens at `path`.
///
/// # Errors
/// Those of bind(2) and listen(2).
pub fn listen_unix(path: &Path, backlog: u32) -> io::Result<OwnedFd> {
    let socket = bind_unix(path)?;
    listen(socket.as_fd(), backlog)?;
    Ok(socket)
}

/// Creates a Unix stream socket that listens at `name` in the abstract namespace. `name` is without the leading NUL.
///
/// # Errors
/// Those of bind(2) and listen(2).
pub fn listen_abstract(name: &[u8], backlog: u32) -> io::Result<OwnedFd> {
    let socket = stream(AddressFamily::Unix)?;
    socket::bind(socket.as_raw_fd(), &UnixAddr::new_abstract(name)?)?;
    listen(socket.as_fd(), backlog)?;
    Ok(socket)
}

/// Creates a listening TCP socket, with `SO_REUSEADDR` and `TCP_NODELAY`.
///
/// # Errors
/// Those of bind(2), listen(2) and setsockopt(2).
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
    if settings.freebind {
        setsockopt(&socket, sockopt::IpFreebind, &true)?;
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

/// Makes a socket listen. On a socket that listens already, changes the backlog. The kernel limits the backlog to
/// [`somaxconn`].
///
/// # Errors
/// Those of listen(2).
pub fn listen(socket: BorrowedFd, backlog: u32) -> io::Result<()> {
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    // SAFETY: the descriptor is open; no memory is passed. (nix refuses a backlog above 4096.)
    let result = unsafe { libc::listen(socket.as_raw_fd(), backlog) };
    Errno::result(result)?;
    Ok(())
}

/// The maximum backlog: `net.core.somaxconn`, or the kernel's default where /proc is missing.
pub fn somaxconn() -> u32 {
    let text = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    text.trim().parse().unwrap_or(4096)
}

/// Whether a descriptor is a listening stream socket. Uses getsockopt(2) only, because fstat(2) could block on a FUSE
/// file.
pub fn listens(fd: BorrowedFd) -> bool {
    let is_stream = getsockopt(&fd, sockopt::SockType) == Ok(SockType::Stream);
    is_stream && getsockopt(&fd, sockopt::AcceptConn) == Ok(true)
}

/// The name of a kind of file, with its article, for messages.
pub(super) fn kind_named(kind: SFlag) -> &'static str {
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

/// Reads the user id of the peer of a connected Unix socket: `SO_PEERCRED`.
///
/// # Errors
/// Those of getsockopt(2).
pub fn peer_user(socket: BorrowedFd) -> io::Result<u32> {
    Ok(nix::sys::socket::getsockopt(&socket, sockopt::PeerCredentials)?.uid())
}

/// The peer's address of a connected stream or seqpacket socket, for messages. `None` for any other descriptor, and for
/// a peer without a name, as in a socketpair(2).
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

/// The state of the file at the path of a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// The file is a socket on which a process listens.
    Live,
    /// The file is a socket on which no process listens.
    Stale(FileId),
    /// The file is of another kind, with this description.
    NotASocket(&'static str),
    /// There is no file.
    Absent,
}

/// The device and the inode. Together they identify a file independently of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    /// The device.
    pub device: u64,
    /// The inode.
    pub inode: u64,
}

impl FileId {
    /// Reads the device and inode of the file at `path`. A symbolic link at the end of the path is not followed.
    ///
    /// # Errors
    /// Those of lstat(2).
    pub fn of(path: &Path) -> io::Result<Self> {
        let stat = stat::lstat(path)?;
        Ok(FileId {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }
}

/// Examines the file at `path`. If the file is a socket, connects to it to find out whether a process listens.
///
/// # Errors
/// Those of lstat(2) and connect(2). With `EACCES`, it is unknown whether the socket is live.
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
        // a bound socket of another type, such as a datagram socket
        Err(Errno::EPROTOTYPE) => Ok(Probe::Live),
        Err(Errno::ECONNREFUSED) => Ok(Probe::Stale(FileId {
            device: stat.st_dev,
            inode: stat.st_ino,
        })),
        Err(Errno::ENOENT) => Ok(Probe::Absent),
        Err(e) => Err(e.into()),
    }
}

/// The address to which a socket is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalAddress {
    /// A path.
    Unix(PathBuf),
    /// A name in the abstract namespace, without the leading NUL.
    Abstract(Vec<u8>),
    /// An IP address and port.
    Tcp(SocketAddr),
    /// An address of another family, or a Unix socket without a name.
    Other,
}

/// Reads the address to which a socket is bound.
///
/// # Errors
/// Those of getsockname(2).
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

/// Sets or clears `SO_KEEPALIVE`; connections accepted later inherit it.
///
/// # Errors
/// Those of setsockopt(2).
pub fn set_keepalive(socket: &impl AsFd, on: bool) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::KeepAlive, &on)?)
}

/// Sets `TCP_NODELAY`; connections accepted later inherit it.
///
/// # Errors
/// Those of setsockopt(2).
pub fn set_nodelay(socket: &impl AsFd) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::TcpNoDelay, &true)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
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
            // another test may have forked a child that still holds the socket for a moment
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
    fn clients_cannot_connect_before_listen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let socket = bind_unix(&path).unwrap();
        assert!(UnixStream::connect(&path).is_err());
        listen(socket.as_fd(), 5).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn the_bound_address_is_returned() {
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
    fn a_listener_is_close_on_exec_and_can_be_made_nonblocking() {
        let listener = UnixListener::bind(tempfile::tempdir().unwrap().path().join("s")).unwrap();
        set_nonblocking(&listener, true).unwrap();
        let error = listener.accept().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        set_nonblocking(&listener, false).unwrap();
        assert!(somaxconn() > 0);
    }
}
