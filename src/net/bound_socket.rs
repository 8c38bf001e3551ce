//! A listening socket of this instance, and the comparison of a socket with a configured address.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use crate::ipc::{HandedOverSocket, KeptFile, Listener, Protocol};
use crate::sys::socket::{self, FileId, LocalAddress};

use super::endpoint::Endpoint;

/// A listening socket of this instance.
#[derive(Debug)]
pub(crate) struct BoundSocket {
    pub(super) fd: OwnedFd,
    /// The socket's description for the workers.
    pub(crate) listener: Listener,
    pub(super) endpoint: Endpoint,
    pub(super) origin: Origin,
}

/// The origin of a socket: the process that bound it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// This process has bound the socket. The field is the file of a Unix socket.
    Own(Option<FileId>),
    /// The process that started this process has bound the socket, and has passed it as this descriptor.
    Inherited(RawFd),
    /// An earlier process of the vassal has bound the socket, and has handed it over to the emperor. The field is the
    /// file of a Unix socket.
    OnDemand(Option<FileId>),
}

impl BoundSocket {
    /// The descriptor.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The path and the file (device and inode) of a Unix socket that this process or an earlier process of the
    /// instance has bound. `None` for an inherited socket, and for a socket without a file.
    pub(super) fn own_file(&self) -> Option<(&Path, FileId)> {
        match (&self.endpoint, self.origin) {
            (Endpoint::Unix(path), Origin::Own(Some(id)) | Origin::OnDemand(Some(id))) => {
                Some((path, id))
            }
            _ => None,
        }
    }

    /// The socket's description for the emperor, which keeps the socket open while no process serves on it
    /// (`on-demand`).
    pub(crate) fn kept(&self) -> HandedOverSocket {
        HandedOverSocket {
            name: self.listener.name.clone(),
            file: self.own_file().map(|(path, id)| KeptFile {
                path: path.to_owned(),
                device: id.device,
                inode: id.inode,
            }),
        }
    }

    /// Whether this socket serves the configured endpoint.
    pub(super) fn matches(&self, configured: &Endpoint) -> bool {
        let Origin::Inherited(number) = self.origin else {
            return self.endpoint == *configured;
        };
        match (configured, &self.endpoint) {
            (Endpoint::Descriptor(configured), _) => *configured == number,
            (Endpoint::Tcp(a), Endpoint::Tcp(b)) => {
                // for all interfaces, a socket of systemd has the address [::], and the configuration (`:port`) has
                // 0.0.0.0
                let both_any = a.ip().is_unspecified() && b.ip().is_unspecified();
                a == b || (both_any && a.port() == b.port())
            }
            (Endpoint::Unix(a), Endpoint::Unix(b)) => a == b || are_same_file(a, b),
            (a, b) => a == b,
        }
    }

    /// Whether clients can still connect to the socket. False if the file of a Unix socket was removed or replaced.
    pub(super) fn is_reachable(&self) -> bool {
        match (self.own_file(), &self.endpoint, self.origin) {
            (Some((path, id)), ..) => FileId::of(path).is_ok_and(|found| found == id),
            // the file of this socket is unknown, so the file at the path may belong to another socket
            (None, Endpoint::Unix(_), Origin::OnDemand(None)) => false,
            (None, ..) => true,
        }
    }
}

/// Whether two paths lead to the same file, such as /run/app and /var/run/app, where /var/run is a link to /run.
fn are_same_file(a: &Path, b: &Path) -> bool {
    let (a, b) = (a.canonicalize(), b.canonicalize());
    a.is_ok_and(|a| b.is_ok_and(|b| a == b))
}

/// Builds the description of a socket for the workers. If TCP port 0 is configured, the description has the port that
/// the kernel has chosen.
pub(super) fn describe(fd: BorrowedFd, endpoint: &Endpoint, protocol: Protocol) -> Listener {
    match socket::local_address(fd) {
        Ok(LocalAddress::Tcp(address)) => Listener {
            protocol,
            name: address.to_string(),
            port: address.port(),
        },
        _ => Listener {
            protocol,
            name: endpoint.to_string(),
            port: 0,
        },
    }
}
