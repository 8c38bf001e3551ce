//! A client connection over TCP or a Unix socket.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use super::answer::Answer;

/// Default timeout of reads and writes.
pub const IO_TIMEOUT: Duration = Duration::from_secs(45);

/// Address of a listening socket.
#[derive(Debug, Clone, PartialEq)]
pub enum Address {
    Unix(PathBuf),
    Abstract(String),
    /// `host:port`, `[v6]:port`.
    Tcp(String),
}

impl Address {
    /// Parses an address of a configuration; relative paths are below `directory`.
    pub fn parse(text: &str, directory: &std::path::Path) -> Self {
        if let Some(name) = text.strip_prefix('@') {
            Self::Abstract(name.to_owned())
        } else if let Some(port) = text.strip_prefix(':') {
            Self::Tcp(format!("127.0.0.1:{port}"))
        } else if text.contains(':') && !text.starts_with('/') {
            Self::Tcp(text.to_owned())
        } else {
            Self::Unix(directory.join(text))
        }
    }

    /// Connects; an error if no process listens.
    pub fn try_connect(&self) -> io::Result<Connection> {
        let stream = match self {
            Self::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
            Self::Abstract(name) => {
                let name = if super::under_uwsgi() {
                    format!("{name}\0")
                } else {
                    name.clone()
                };
                Stream::Unix(UnixStream::connect_addr(&SocketAddr::from_abstract_name(
                    name,
                )?)?)
            }
            Self::Tcp(address) => Stream::Tcp(TcpStream::connect(address)?),
        };
        let connection = Connection { stream };
        connection.set_timeout(IO_TIMEOUT);
        Ok(connection)
    }
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// An open connection.
pub struct Connection {
    stream: Stream,
}

impl Connection {
    /// Sets the timeout of reads and writes.
    pub fn set_timeout(&self, limit: Duration) {
        match &self.stream {
            Stream::Unix(s) => s
                .set_read_timeout(Some(limit))
                .and(s.set_write_timeout(Some(limit))),
            Stream::Tcp(s) => s
                .set_read_timeout(Some(limit))
                .and(s.set_write_timeout(Some(limit))),
        }
        .unwrap();
    }

    /// Sends `bytes`, or as many as the server accepts before it closes the connection. A broken connection is no
    /// failure here: the test sees it in the response.
    #[track_caller]
    pub fn put(&mut self, bytes: &[u8]) -> &mut Self {
        allow_closed_peer(self.write_all(bytes));
        self
    }

    /// Shuts the sending side down.
    #[track_caller]
    pub fn end(&mut self) -> &mut Self {
        allow_closed_peer(match &self.stream {
            Stream::Unix(s) => s.shutdown(Shutdown::Write),
            Stream::Tcp(s) => s.shutdown(Shutdown::Write),
        });
        self
    }

    /// Reads until the received text ends with `wanted`, and returns that text.
    #[track_caller]
    pub fn until(&mut self, wanted: &str) -> String {
        let mut got = Vec::new();
        let mut byte = [0];
        while !got.ends_with(wanted.as_bytes()) {
            match self.read(&mut byte) {
                Ok(1) => got.push(byte[0]),
                end => panic!(
                    "{end:?} before {wanted:?}, after {:?}",
                    String::from_utf8_lossy(&got)
                ),
            }
        }
        String::from_utf8_lossy(&got).into_owned()
    }

    /// Reads to the end of the connection. Returns the bytes, and whether it ended with an end of file (not a reset).
    #[track_caller]
    pub fn rest(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        match self.read_to_end(&mut bytes) {
            Ok(_) => (bytes, true),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => (bytes, false),
            Err(e) => panic!("{e} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }

    /// Reads the response up to the end of the connection.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        let (bytes, orderly) = self.rest();
        Answer::parse(bytes, orderly)
    }
}

/// Fails on an error, except where the peer has closed the connection.
#[track_caller]
fn allow_closed_peer(outcome: io::Result<()>) {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    if let Err(error) = outcome {
        let gone = matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected);
        assert!(gone, "{error}");
    }
}

impl Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Unix(s) => s.read(into),
            Stream::Tcp(s) => s.read(into),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Unix(s) => s.write(from),
            Stream::Tcp(s) => s.write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
