//! The configured addresses after resolution of host names and relative paths.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{BorrowedFd, RawFd};
use std::path::PathBuf;

use crate::config::Address;
use crate::ipc::Protocol;
use crate::log::escape;
use crate::sys::socket::{self, LocalAddress};

use super::error::BindError;
use super::listen_options::ListenOptions;

/// The address of a socket. A reload recognises the socket by it. Displays as text for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// A Unix socket at this absolute path.
    Unix(PathBuf),
    /// A Unix socket with this name in the abstract namespace, without the leading NUL.
    Abstract(Vec<u8>),
    /// A TCP socket at this address. The port is as configured. Port 0 stays 0 after the kernel has chosen a port.
    Tcp(SocketAddr),
    /// An inherited socket that is known only by the number of its descriptor.
    Descriptor(RawFd),
}

impl Endpoint {
    /// The endpoint of an inherited socket: its local address, or its descriptor's `number` if the address is unknown.
    pub(super) fn of_inherited(fd: BorrowedFd, number: RawFd) -> Self {
        match socket::local_address(fd) {
            Ok(LocalAddress::Unix(path)) => Self::Unix(path),
            Ok(LocalAddress::Abstract(name)) => Self::Abstract(name),
            Ok(LocalAddress::Tcp(address)) => Self::Tcp(address),
            Ok(LocalAddress::Other) | Err(_) => Self::Descriptor(number),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Abstract(name) => write!(f, "@{}", escape(name)),
            Self::Tcp(address) => address.fmt(f),
            Self::Descriptor(number) => write!(f, "fd://{number}"),
        }
    }
}

/// Resolves the configured addresses; the order is kept. Looking up a host name may wait for a name server.
///
/// # Errors
/// [`BindError::Twice`] for an address that is configured twice, except with TCP port 0. [`BindError::Other`] for an
/// address that cannot be resolved.
pub(super) fn resolve_all(options: &ListenOptions) -> Result<Vec<(Endpoint, Protocol)>, BindError> {
    let mut endpoints: Vec<(Endpoint, Protocol)> = Vec::new();
    for (address, protocol) in &options.addresses {
        let endpoint = resolve(address)?;
        let any_port = matches!(endpoint, Endpoint::Tcp(address) if address.port() == 0);
        if !any_port && endpoints.iter().any(|(other, _)| *other == endpoint) {
            return Err(BindError::Twice(address.to_string()));
        }
        endpoints.push((endpoint, *protocol));
    }
    Ok(endpoints)
}

/// Resolves one configured address.
///
/// # Errors
/// [`BindError::Other`] for an address that cannot be resolved.
pub(super) fn resolve(address: &Address) -> Result<Endpoint, BindError> {
    let failed = |reason: String| BindError::Other(address.to_string(), reason);
    match address {
        Address::Unix(path) => match std::path::absolute(path) {
            Ok(path) => Ok(Endpoint::Unix(path)),
            Err(e) => Err(failed(format!("the current directory is unknown: {e}"))),
        },
        Address::Abstract(name) => Ok(Endpoint::Abstract(name.clone())),
        Address::Fd(number) => Ok(Endpoint::Descriptor(*number)),
        Address::Tcp { host, port } if host.is_empty() || host == "*" => {
            Ok(Endpoint::Tcp((Ipv4Addr::UNSPECIFIED, *port).into()))
        }
        Address::Tcp { host, port } => {
            let found = (host.as_str(), *port).to_socket_addrs();
            let mut found: Vec<_> = found
                .map_err(|e| failed(format!("the host {host} is not known: {e}")))?
                .collect();
            // a host with both kinds of address, such as localhost, gets its IPv4 address, as in uWSGI and nginx
            found.sort_by_key(SocketAddr::is_ipv6);
            let first = found
                .first()
                .ok_or_else(|| failed(format!("the host {host} has no address")))?;
            Ok(Endpoint::Tcp(*first))
        }
    }
}

/// Whether `address` is `[::]:port` and `0.0.0.0:port` is configured too. The socket of `[::]` must then be limited to
/// IPv6 (`IPV6_V6ONLY`), because otherwise the second bind would fail.
pub(super) fn has_v4_twin(address: SocketAddr, endpoints: &[(Endpoint, Protocol)]) -> bool {
    let twin = Endpoint::Tcp((Ipv4Addr::UNSPECIFIED, address.port()).into());
    address.is_ipv6()
        && address.ip().is_unspecified()
        && endpoints.iter().any(|(endpoint, _)| *endpoint == twin)
}
