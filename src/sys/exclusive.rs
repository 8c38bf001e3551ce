//! Finds open descriptors that exclude other processes from an address or a file: bound sockets, and file locks.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{self, SockType, SockaddrStorage, getsockopt, sockopt};
use nix::sys::stat;

use super::socket::{LocalAddress, local_address};
use super::{descriptor, private_fd};

/// The descriptor of a bound socket or of a file lock. While it is open, no other process can bind the address or take
/// the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusive {
    fd: RawFd,
    device: u64,
    inode: u64,
    is_socket: bool,
    /// The description for messages: `port 127.0.0.1:9000`, `lock on /run/app.lock`.
    pub name: String,
}

/// Lists the bound sockets and the file locks among the open descriptors of this process. Descriptors of
/// [`PrivateFd`](super::private_fd::PrivateFd) and the standard descriptors 0 to 2 are left out.
pub fn all() -> Vec<Exclusive> {
    let numbers = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok());
    let mut numbers: Vec<RawFd> = numbers
        .filter(|fd| *fd > 2 && !private_fd::is_private(*fd))
        .collect();
    numbers.sort_unstable();
    numbers.into_iter().filter_map(of).collect()
}

fn of(fd: RawFd) -> Option<Exclusive> {
    let borrowed = descriptor::borrow(&fd).ok()?;
    let stat = stat::fstat(borrowed).ok()?;
    let is_socket = stat.st_mode & libc::S_IFMT == libc::S_IFSOCK;
    let name = match is_socket {
        true => bound_address(fd),
        false => lock(fd),
    }?;
    Some(Exclusive {
        fd,
        device: stat.st_dev,
        inode: stat.st_ino,
        is_socket,
        name,
    })
}

/// Describes the address of a bound socket, for messages; `None` if the socket has a peer or excludes no other process.
fn bound_address(fd: RawFd) -> Option<String> {
    let borrowed = descriptor::borrow(&fd).ok()?;
    if socket::getpeername::<SockaddrStorage>(fd).is_ok() {
        return None;
    }
    let is_stream = getsockopt(&borrowed, sockopt::SockType).ok()? == SockType::Stream;
    match local_address(borrowed).ok()? {
        LocalAddress::Tcp(address) if address.port() == 0 => None,
        LocalAddress::Tcp(address) if is_stream => Some(format!("port {address}")),
        // when an unbound datagram socket first sends, the kernel binds it to the wildcard address; such a socket
        // excludes no other process
        LocalAddress::Tcp(address) if address.ip().is_unspecified() => None,
        LocalAddress::Tcp(address) => Some(format!("UDP port {address}")),
        LocalAddress::Unix(path) => Some(format!("socket {}", path.display())),
        LocalAddress::Abstract(name) => Some(format!("socket @{}", name.escape_ascii())),
        LocalAddress::Other => None,
    }
}

/// Describes the file that a descriptor has locked, for messages; `None` if it holds no lock.
fn lock(fd: RawFd) -> Option<String> {
    let facts = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    if !facts.lines().any(|line| line.starts_with("lock:")) {
        return None;
    }
    let path = fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    Some(format!("lock on {}", path.display()))
}

impl Exclusive {
    /// Replaces the descriptor's open file by a socket without traffic or by `/dev/null`. The address or the lock is
    /// then free if no other process holds it. The number stays open, because its owner in this process may still use
    /// or close it. Does nothing if the owner has closed the descriptor.
    ///
    /// # Errors
    /// Those of open(2), socketpair(2) and dup3(2).
    pub fn release(&self) -> io::Result<()> {
        let fd = self.fd;
        let is_same = descriptor::borrow(&fd)
            .and_then(|fd| Ok(stat::fstat(fd)?))
            .is_ok_and(|stat| stat.st_dev == self.device && stat.st_ino == self.inode);
        if !is_same {
            return Ok(());
        }
        let other = match self.is_socket {
            true => silent_socket()?,
            false => File::open(Path::new("/dev/null"))?.into(),
        };
        // SAFETY: both descriptors are open. The replaced number stays open, so the kernel cannot give it to another
        // file while its owner still uses it.
        let result = unsafe { libc::dup3(other.as_raw_fd(), fd, libc::O_CLOEXEC) };
        nix::errno::Errno::result(result)?;
        Ok(())
    }
}

/// Creates a socket that never becomes readable: a thread that waits for connections on it keeps waiting.
fn silent_socket() -> io::Result<OwnedFd> {
    let (ours, peer) = UnixStream::pair()?;
    // the peer stays open as long as the process lives, because a closed peer would make the socket readable
    let _ = peer.into_raw_fd();
    Ok(ours.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn named(text: &str) -> Option<Exclusive> {
        all().into_iter().find(|it| it.name.contains(text))
    }

    #[test]
    fn a_listening_socket_is_exclusive_and_a_connected_one_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        assert!(named(&format!("port {address}")).is_some());
        assert!(named(&client.local_addr().unwrap().to_string()).is_none());
    }

    #[test]
    fn a_datagram_socket_that_has_only_sent_is_not_exclusive() {
        let bound = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("0.0.0.0:0").unwrap();
        sender.send_to(b"x", bound.local_addr().unwrap()).unwrap();
        assert!(named(&format!("UDP port {}", bound.local_addr().unwrap())).is_some());
        assert!(named(&sender.local_addr().unwrap().to_string()).is_none());
    }

    #[test]
    fn a_released_port_can_be_bound_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        named(&address.to_string()).unwrap().release().unwrap();
        drop(TcpListener::bind(address).unwrap());
        drop(listener);
    }

    #[test]
    fn a_released_lock_is_free() {
        let path = std::env::temp_dir().join(format!("ruwsgi-lock-{}", std::process::id()));
        let locked = File::create(&path).unwrap();
        locked.lock().unwrap();
        let other = File::open(&path).unwrap();
        assert!(other.try_lock().is_err());
        let name = path.file_name().unwrap().to_str().unwrap();
        named(name).unwrap().release().unwrap();
        other.try_lock().unwrap();
        fs::remove_file(path).unwrap();
    }
}
