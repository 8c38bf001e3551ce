//! The conditions of the `wait_for_*` actions.

use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::config::WaitTarget;

/// Timeout of a TCP connection attempt, which blocks the master.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(100);

/// Whether the target of a `wait_for_*` action is available. For a socket, this connects to the server and may block
/// for [`CONNECT_TIMEOUT`] per TCP address.
pub(super) fn is_available(kind: WaitTarget, target: &str) -> bool {
    let path = Path::new(target);
    match kind {
        WaitTarget::Anything => path.exists(),
        WaitTarget::File => path.is_file(),
        WaitTarget::Directory => path.is_dir(),
        WaitTarget::MountPoint => is_mount_point(path),
        WaitTarget::Interface => Path::new("/sys/class/net").join(target).exists(),
        WaitTarget::Socket => accepts_connections(target),
    }
}

/// Whether a directory is the root of a mounted file system.
fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| std::fs::metadata(path).ok().map(|it| it.dev());
    let own = device(path);
    path.is_dir() && own.is_some() && (path == Path::new("/") || own != device(&path.join("..")))
}

/// Whether a server accepts connections at `host:port`, or at the path of a Unix socket.
fn accepts_connections(address: &str) -> bool {
    if !address.contains(':') || address.starts_with('/') {
        return UnixStream::connect(address).is_ok();
    }
    let mut addresses = address.to_socket_addrs().into_iter().flatten();
    addresses.any(|address| TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok())
}
