//! A listening socket of the master or the emperor for tools, such as the statistics server. Workers do not inherit it.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::config::{Address, Config};
use crate::sys::descriptor::set_nonblocking;
use crate::sys::socket::{self, FileId, LocalAddress, TcpSettings};

use super::endpoint::{Endpoint, resolve};
use super::error::BindError;
use super::socket_permissions::SocketPermissions;
use super::unix_socket;

/// Length of the listen queue, in connections.
const BACKLOG: u32 = 1024;

/// A listening socket for tools. Displays as its address.
#[derive(Debug)]
pub(crate) struct ServiceSocket {
    fd: OwnedFd,
    endpoint: Endpoint,
    /// The file of a Unix socket.
    file: Option<FileId>,
    /// Whether [`ServiceSocket::remove`] removes the file (`vacuum`).
    vacuum: bool,
}

impl ServiceSocket {
    /// Listens at `address` without blocking. A Unix socket gets the same mode and owner as the instance's other
    /// sockets (`chmod-socket`, `chown-socket`, `uid`).
    ///
    /// # Errors
    /// When the address cannot be resolved or bound.
    pub(crate) fn bind(address: &Address, config: &Config) -> Result<Self, BindError> {
        let endpoint = resolve(address)?;
        let name = endpoint.to_string();
        let failed = |error: std::io::Error| BindError::Other(name.clone(), error.to_string());
        let backlog = BACKLOG.min(socket::somaxconn());
        let (fd, file) = match &endpoint {
            Endpoint::Unix(path) => {
                let permissions = SocketPermissions::new(config)?;
                let placed = unix_socket::place(path, permissions, backlog);
                let (fd, id) = placed.map_err(|error| BindError::Unix(name.clone(), error))?;
                (fd, Some(id))
            }
            Endpoint::Abstract(name) => {
                let fd = socket::listen_abstract(name, backlog).map_err(failed)?;
                (fd, None)
            }
            Endpoint::Tcp(address) => {
                let settings = TcpSettings::default();
                let fd = socket::listen_tcp(*address, backlog, settings).map_err(failed)?;
                (fd, None)
            }
            Endpoint::Descriptor(number) => return Err(BindError::NotInherited(*number)),
        };
        set_nonblocking(&fd, true).map_err(failed)?;
        let endpoint = match socket::local_address(fd.as_fd()) {
            // if port 0 was configured, this address has the port that the kernel has chosen
            Ok(LocalAddress::Tcp(address)) => Endpoint::Tcp(address),
            _ => endpoint,
        };
        Ok(Self {
            fd,
            endpoint,
            file,
            vacuum: config.vacuum(),
        })
    }

    /// Duplicates the descriptor.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub(crate) fn duplicate(&self) -> std::io::Result<OwnedFd> {
        self.fd.try_clone()
    }

    /// Whether the socket is a TCP socket.
    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self.endpoint, Endpoint::Tcp(_))
    }

    /// Removes the file of a Unix socket, unless `vacuum` is switched off. A file that another process has put at the
    /// path is left alone.
    pub(crate) fn remove(&self) {
        if let (Some(path), Some(id), true) = (self.path(), self.file, self.vacuum) {
            // if the file cannot be removed, the next instance replaces it
            let _ = unix_socket::remove(path, id);
        }
    }

    fn path(&self) -> Option<&Path> {
        match &self.endpoint {
            Endpoint::Unix(path) => Some(path),
            _ => None,
        }
    }
}

impl fmt::Display for ServiceSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.fmt(f)
    }
}
