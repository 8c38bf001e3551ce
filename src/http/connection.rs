//! An accepted connection.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::ipc::Protocol;
use crate::log::{Interval, counted};
use crate::sys::private_fd::PrivateFd;

/// An accepted connection.
pub struct Connection {
    /// The socket, non-blocking.
    pub fd: PrivateFd,
    /// Index of the listener that accepted the connection.
    pub listener: usize,
    /// The protocol of the connection.
    pub protocol: Protocol,
    /// The client's address. `None` on Unix sockets, and if the engine has a single uwsgi listener.
    pub peer: Option<SocketAddr>,
    /// The address that the client connected to; HTTP over TCP only.
    pub local: Option<SocketAddr>,
    /// Number of requests that were answered on the connection.
    pub served: u32,
    /// The connection's slot in [`KeepAlive`](super::keep_alive::KeepAlive), which is its token in the epoll. `None`
    /// without a slot.
    pub token: Option<usize>,
}

impl Connection {
    /// A connection that has not sent a request yet.
    pub fn new(fd: OwnedFd, listener: usize, protocol: Protocol) -> Self {
        Self {
            fd: fd.into(),
            listener,
            protocol,
            peer: None,
            local: None,
            served: 0,
            token: None,
        }
    }

    /// The socket's descriptor, for system calls.
    #[inline]
    pub fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// The client's address for log messages.
    pub fn peer_name(&self) -> String {
        self.peer
            .map_or_else(|| "a client".into(), |peer| peer.to_string())
    }

    /// Logs that the client has left in the middle of a request, at most once in ten seconds. Logs nothing if `reason`
    /// is `None`.
    pub fn log_dropped(&self, reason: Option<&str>) {
        static LOG: Interval = Interval::new();
        let Some(reason) = reason else {
            return;
        };
        if let Some(others) = LOG.due() {
            let others = match others {
                0 => String::new(),
                others => format!("; so were {} before", counted(others, "other connection")),
            };
            tracing::info!("{}: connection closed: {reason}{others}", self.peer_name());
        }
    }
}
