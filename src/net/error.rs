//! Why an instance cannot listen, in one sentence.

use std::io;
use std::os::fd::RawFd;

use crate::sys::socket::AdoptError;
use crate::sys::unix_socket::PlaceError;
use crate::sys::user;

use super::place::Place;

/// Why an instance cannot listen: one sentence.
#[derive(thiserror::Error, Debug)]
pub(crate) enum BindError {
    /// A Unix socket cannot be put at its path.
    #[error("cannot listen on {0}: {1}")]
    Unix(String, PlaceError),
    /// Another socket cannot be bound.
    #[error("cannot listen on {0}: {1}")]
    Other(String, String),
    /// A descriptor is not what it should be.
    #[error("cannot listen on {0}: {1}")]
    Descriptor(String, AdoptError),
    /// A descriptor named in the configuration was not inherited.
    #[error(
        "cannot listen on fd://{0}: this descriptor was not inherited when the instance started, and a reload cannot add it"
    )]
    NotInherited(RawFd),
    /// An address is there twice.
    #[error("cannot listen on {0}: it is configured twice")]
    Twice(String),
    /// `chown-socket` names nobody.
    #[error("chown-socket: {0}")]
    Owner(#[from] user::DropError),
}

/// What the kernel meant, and what to do.
pub(super) fn explain(error: &io::Error, place: &Place) -> String {
    let port = match place {
        Place::Tcp(address) => address.port(),
        _ => 0,
    };
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            "another process listens on it; stop that one first, or choose another address".into()
        }
        Some(libc::EACCES) if port < 1024 => format!(
            "ports below 1024 are for root; start as root with uid set, keep the capability net_bind_service (cap, or emperor-cap of its emperor), or choose another port than {port}"
        ),
        Some(libc::EADDRNOTAVAIL) => "this machine has no such address; see ip address".into(),
        _ => error.to_string(),
    }
}
