//! The errors of the functions that listen at an address or bind a socket.

use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;

use crate::sys::inherited_socket::AdoptError;
use crate::sys::socket::MAX_UNIX_PATH;
use crate::sys::user;

/// Why an instance cannot listen. Displays as one sentence.
#[derive(thiserror::Error, Debug)]
pub(crate) enum BindError {
    /// A Unix socket cannot be bound to its path.
    #[error("cannot listen on {0}: {1}")]
    Unix(String, PlaceError),
    /// A socket other than a Unix socket at a path cannot be bound, or a kept socket cannot be updated.
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
    /// `chown-socket`, `uid` or `gid` names an unknown user or group.
    #[error(transparent)]
    Owner(#[from] user::DropError),
}

/// Why a Unix socket cannot be bound to a path. Displays as a reason with the remedy.
#[derive(thiserror::Error, Debug)]
pub(crate) enum PlaceError {
    /// A process already listens on a socket at the path.
    #[error("another instance serves on it; stop that one first, or choose another path")]
    Live,
    /// The file at the path is not the expected socket. The file is left alone.
    #[error("{0} is in the way, which is left alone; remove it, or choose another path")]
    NotASocket(&'static str),
    /// The directory is missing.
    #[error("the directory {} does not exist; create it first", .0.display())]
    NoDirectory(PathBuf),
    /// This process may not write to the directory.
    #[error("user {user} may not create files in {directory}; make it writable for that user, or choose another path", directory = .directory.display())]
    NotWritable {
        /// The directory.
        directory: PathBuf,
        /// The effective user.
        user: String,
    },
    /// The path has a socket to which this process may not connect. Therefore it cannot find out whether a process
    /// listens there.
    #[error(
        "cannot test whether the existing socket is in use: user {0} may not connect to it; remove it if it is not in use"
    )]
    Unknown(String),
    /// The path is longer than the kernel allows.
    #[error(
        "its name is longer than the {MAX_UNIX_PATH} bytes that the kernel allows; use a shorter path"
    )]
    TooLong,
    /// The mode or owner of the socket file could not be set.
    #[error("{0} could not be set on it: {1}")]
    Access(&'static str, io::Error),
    /// Another error of a system call.
    #[error("{0}")]
    Kernel(#[from] io::Error),
}
