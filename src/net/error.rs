//! Why an instance cannot listen.

use std::os::fd::RawFd;

use crate::net::unix_socket::PlaceError;
use crate::sys::inherited_socket::AdoptError;
use crate::sys::user;

/// Why an instance cannot listen. Displays as one sentence.
#[derive(thiserror::Error, Debug)]
pub(crate) enum BindError {
    /// A Unix socket cannot be bound to its path.
    #[error("cannot listen on {0}: {1}")]
    Unix(String, PlaceError),
    /// Another socket cannot be bound.
    #[error("cannot listen on {0}: {1}")]
    Other(String, String),
    /// An inherited descriptor is no listening stream socket.
    #[error("cannot listen on {0}: {1}")]
    Descriptor(String, AdoptError),
    /// A descriptor named in the configuration was not inherited.
    #[error(
        "cannot listen on fd://{0}: this descriptor was not inherited when the instance started, and a reload cannot add it"
    )]
    NotInherited(RawFd),
    /// An address is configured twice.
    #[error("cannot listen on {0}: it is configured twice")]
    Twice(String),
    /// `chown-socket` names an unknown user or group.
    #[error("chown-socket: {0}")]
    Owner(#[from] user::DropError),
}
