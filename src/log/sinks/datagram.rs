//! `socket`: one datagram per event, to a UDP address or a Unix socket. An event is dropped if its datagram cannot be
//! sent at once.

use std::io;
use std::net::{ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;

use super::sink::{Drops, Sink};

/// A nonblocking datagram socket with one destination address.
pub(in crate::log) enum Datagrams {
    Udp(UdpSocket),
    /// The path is resolved at each send, because the receiver may have recreated its socket.
    Unix(UnixDatagram, String),
}

impl Datagrams {
    /// Creates a socket for an address: the path of a Unix socket, or `HOST:PORT`. The host name is resolved only here,
    /// not at each send.
    ///
    /// # Errors
    /// Those of the resolver and of socket(2).
    pub(in crate::log) fn open(address: &str) -> io::Result<Self> {
        if address.starts_with('/') || !address.contains(':') {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            return Ok(Self::Unix(socket, address.to_owned()));
        }
        let mut found = address.to_socket_addrs()?;
        let target = found.next().ok_or(io::ErrorKind::NotFound)?;
        let any = if target.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(target)?;
        socket.set_nonblocking(true)?;
        Ok(Self::Udp(socket))
    }

    /// Sends one datagram without waiting.
    ///
    /// # Errors
    /// Those of send(2); `WouldBlock` if the peer's receive queue is full.
    pub(in crate::log) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            // the kernel may report the error of an earlier datagram here, so the send is repeated once
            Self::Udp(socket) => socket.send(bytes).or_else(|_| socket.send(bytes)),
            Self::Unix(socket, path) => socket.send_to(bytes, path),
        }
        .map(drop)
    }
}

pub(super) struct DatagramSink {
    name: String,
    datagrams: Datagrams,
    prefix: String,
    drops: Drops,
}

impl DatagramSink {
    /// Creates a sink that sends each event, preceded by `prefix`, to `address`.
    ///
    /// # Errors
    /// Those of [`Datagrams::open`].
    pub(super) fn open(address: &str, prefix: &str) -> io::Result<Self> {
        Ok(Self {
            name: format!("log socket {address}"),
            datagrams: Datagrams::open(address)?,
            prefix: prefix.to_owned(),
            drops: Drops::default(),
        })
    }
}

impl Sink for DatagramSink {
    fn write(&mut self, event: &[u8]) {
        let mut message = self.prefix.clone().into_bytes();
        message.extend_from_slice(event);
        match self.datagrams.send(&message) {
            Ok(()) => self.drops.end(&self.name),
            Err(error) => self.drops.add(&self.name, error),
        }
    }
}
