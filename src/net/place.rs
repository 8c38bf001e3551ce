//! Where sockets are bound: the configuration's addresses, resolved.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::RawFd;
use std::path::PathBuf;

use crate::config::Address;
use crate::ipc::Protocol;
use crate::log::escape;

use super::error::BindError;
use super::wishes::Wishes;

/// Where a socket is bound, so that it is known again after a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// An absolute path.
    Unix(PathBuf),
    Abstract(Vec<u8>),
    /// As asked for: port 0 stays 0.
    Tcp(SocketAddr),
    /// An inherited descriptor by its number.
    Number(RawFd),
}

/// The addresses resolved, in order, each once.
pub(super) fn places(wishes: &Wishes) -> Result<Vec<(Place, Protocol)>, BindError> {
    let mut places: Vec<(Place, Protocol)> = Vec::new();
    for (address, protocol) in &wishes.addresses {
        let place = resolve(address)?;
        let port_is_free = matches!(place, Place::Tcp(address) if address.port() == 0);
        if !port_is_free && places.iter().any(|(other, _)| *other == place) {
            return Err(BindError::Twice(address.to_string()));
        }
        places.push((place, *protocol));
    }
    Ok(places)
}

fn resolve(address: &Address) -> Result<Place, BindError> {
    let failed = |reason: String| BindError::Other(address.to_string(), reason);
    match address {
        Address::Unix(path) => match std::path::absolute(path) {
            Ok(path) => Ok(Place::Unix(path)),
            Err(e) => Err(failed(format!("the current directory is unknown: {e}"))),
        },
        Address::Abstract(name) => Ok(Place::Abstract(name.clone())),
        Address::Fd(number) => Ok(Place::Number(*number)),
        Address::Tcp { host, port } if host.is_empty() || host == "*" => {
            Ok(Place::Tcp((Ipv4Addr::UNSPECIFIED, *port).into()))
        }
        Address::Tcp { host, port } => {
            let found = (host.as_str(), *port).to_socket_addrs();
            let mut found: Vec<_> = found
                .map_err(|e| failed(format!("the host {host} is not known: {e}")))?
                .collect();
            // localhost means 127.0.0.1 where both are there, as for uWSGI and nginx
            found.sort_by_key(SocketAddr::is_ipv6);
            let first = found
                .first()
                .ok_or_else(|| failed(format!("the host {host} has no address")))?;
            Ok(Place::Tcp(*first))
        }
    }
}

/// Whether `[::]:port` must leave IPv4 to `0.0.0.0:port`, which is configured too.
pub(super) fn has_v4_twin(address: SocketAddr, places: &[(Place, Protocol)]) -> bool {
    let twin = Place::Tcp((Ipv4Addr::UNSPECIFIED, address.port()).into());
    address.is_ipv6()
        && address.ip().is_unspecified()
        && places.iter().any(|(place, _)| *place == twin)
}

/// An address as the log shows it.
pub(super) fn name_of(place: &Place) -> String {
    match place {
        Place::Unix(path) => path.display().to_string(),
        Place::Abstract(name) => format!("@{}", escape(name)),
        Place::Tcp(address) => address.to_string(),
        Place::Number(number) => format!("fd://{number}"),
    }
}
