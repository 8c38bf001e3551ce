//! The listening sockets.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::connection::Connection;
use crate::ipc::Protocol;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::private_fd::PrivateFd;
use crate::sys::socket;
use crate::sys::stream;

/// The first epoll token of listeners. The tokens of connections are smaller.
const FIRST_TOKEN: u64 = 1 << 32;

/// A listening socket for an engine.
pub struct Listener {
    /// The socket.
    pub fd: PrivateFd,
    /// The protocol of the connections that the socket accepts.
    pub protocol: Protocol,
    /// The address of the socket, for log messages.
    pub name: String,
}

/// The properties of a listener that are needed after it is closed.
struct Port {
    fd: RawFd,
    protocol: Protocol,
    name: String,
}

/// The listening sockets of an engine.
pub struct Listeners {
    /// The sockets; empty once they are closed.
    open: Mutex<Vec<PrivateFd>>,
    ports: Vec<Port>,
    /// The epoll in which the serving threads wait for listeners and idle connections. `None` with a single uwsgi
    /// listener: the threads then wait in accept4(2), which needs fewer system calls.
    pub epoll: Option<Epoll>,
}

impl Listeners {
    /// Takes over the sockets. Unless there is a single uwsgi listener, makes them non-blocking and watches them in an
    /// epoll.
    ///
    /// # Errors
    /// The errors of epoll_create1(2), epoll_ctl(2) and fcntl(2).
    pub fn new(listeners: Vec<Listener>) -> io::Result<Self> {
        let mut open = Vec::new();
        let mut ports = Vec::new();
        for Listener { fd, protocol, name } in listeners {
            ports.push(Port {
                fd: fd.as_raw_fd(),
                protocol,
                name,
            });
            open.push(fd);
        }
        let single_uwsgi = matches!(&ports[..], [port] if port.protocol == Protocol::Uwsgi);
        let epoll = if single_uwsgi {
            None
        } else {
            Some(watch(&open)?)
        };
        Ok(Self {
            open: Mutex::new(open),
            ports,
            epoll,
        })
    }

    /// The listener at which the threads wait in accept4(2); `None` if they wait in the epoll.
    #[inline]
    pub fn single(&self) -> Option<(RawFd, Protocol)> {
        match (&self.epoll, &self.ports[..]) {
            (None, [port]) => Some((port.fd, port.protocol)),
            _ => None,
        }
    }

    /// Number of listeners.
    pub fn count(&self) -> usize {
        self.ports.len()
    }

    /// The index of the listener with this epoll token; `None` for the token of a connection.
    #[inline]
    pub fn index_of(token: u64) -> Option<usize> {
        token.checked_sub(FIRST_TOKEN).map(|index| index as usize)
    }

    /// Accepts a connection at a listener; `None` if the listener is closed.
    ///
    /// # Errors
    /// The errors of accept4(2).
    pub fn accept(&self, index: usize) -> Option<io::Result<Connection>> {
        let protocol = self.ports.get(index)?.protocol;
        let accepted = stream::accept_from(self.lock().get(index)?.as_raw_fd());
        Some(accepted.map(|(fd, peer)| {
            let mut connection = Connection::new(fd, index, protocol);
            connection.peer = peer;
            if protocol == Protocol::Http && peer.is_some() {
                stream::send_at_once(connection.raw_fd());
                connection.local = stream::local_address(connection.fd.as_fd());
            }
            connection
        }))
    }

    /// Removes the listeners from the epoll.
    pub fn unwatch(&self) {
        if let Some(epoll) = &self.epoll {
            for port in &self.ports {
                epoll.remove(port.fd);
            }
        }
    }

    /// Closes the listeners; false if they were closed before.
    pub fn close(&self) -> bool {
        let closed = std::mem::take(&mut *self.lock());
        !closed.is_empty()
    }

    /// The client and the listener of a connection, for log messages.
    pub fn describe(&self, connection: &Connection) -> String {
        let port = self.ports.get(connection.listener);
        let name = port.map_or("?", |port| &port.name);
        format!("{} on {name}", connection.peer_name())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PrivateFd>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Creates an epoll that watches `listeners`. Makes them non-blocking.
fn watch(listeners: &[PrivateFd]) -> io::Result<Epoll> {
    let epoll = Epoll::new()?;
    for (index, listener) in listeners.iter().enumerate() {
        // one connection may wake several threads; the threads that come too late must not block in accept4(2)
        socket::set_nonblocking(listener, true)?;
        epoll.add(
            listener.as_raw_fd(),
            Interest::Accept,
            FIRST_TOKEN + index as u64,
        )?;
    }
    Ok(epoll)
}
