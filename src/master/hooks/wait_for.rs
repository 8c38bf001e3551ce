//! The condition of the `wait_for_*` actions.

use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::config::Awaited;

/// Timeout of a TCP connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(100);

/// Whether the target of a `wait_for_*` action is available.
pub(super) fn is_available(kind: Awaited, target: &str) -> bool {
    let path = Path::new(target);
    match kind {
        Awaited::Anything => path.exists(),
        Awaited::File => path.is_file(),
        Awaited::Directory => path.is_dir(),
        Awaited::Socket => accepts_connections(target),
    }
}

/// Whether a server accepts connections at `host:port`, or at the path of a Unix socket.
fn accepts_connections(address: &str) -> bool {
    if !address.contains(':') || address.starts_with('/') {
        return UnixStream::connect(address).is_ok();
    }
    let mut addresses = address.to_socket_addrs().into_iter().flatten();
    addresses.any(|address| TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok())
}
