//! A connection of a client, over TCP or a Unix socket.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::timeout;

/// Maximum size of a send buffer, bytes.
const MAX_SEND_BUFFER: usize = 8 << 20;
/// Maximum time that the observer waits, after the end of the response, for the client to close.
const LINGER: Duration = Duration::from_secs(1);
/// Maximum number of bytes that are read from a client.
const MAX_REQUEST: usize = 16 << 10;

/// A listening socket.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connected stream.
pub(super) trait Stream: AsyncRead + AsyncWrite + AsFd + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + AsFd + Unpin + Send> Stream for T {}

impl Listener {
    /// Takes over a non-blocking listening socket. Must be called inside of the runtime.
    pub(super) fn new(fd: OwnedFd, is_tcp: bool) -> io::Result<Self> {
        Ok(match is_tcp {
            true => Self::Tcp(TcpListener::from_std(fd.into())?),
            false => Self::Unix(UnixListener::from_std(fd.into())?),
        })
    }

    pub(super) async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

/// Sends the page to a client at once, because the client sends no request.
pub(super) async fn send(stream: &mut dyn Stream, page: &[u8]) -> io::Result<()> {
    enlarge_send_buffer(&*stream, page.len());
    stream.write_all(page).await?;
    finish(stream).await
}

/// Waits for a request, and sends the page as an HTTP/1.0 response. The content of the request has no effect.
pub(super) async fn send_http(stream: &mut dyn Stream, page: &[u8]) -> io::Result<()> {
    let head = "HTTP/1.0 200 OK\r\nConnection: close\r\nAccess-Control-Allow-Origin: *\r\nContent-Type: application/json\r\n\r\n";
    let response = [head.as_bytes(), page].concat();
    enlarge_send_buffer(&*stream, response.len());
    stream.write_all(&response).await?;
    finish(stream).await
}

/// Reads the head of an HTTP request. Returns false if the client has sent nothing.
pub(super) async fn read_request(stream: &mut dyn Stream) -> io::Result<bool> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < MAX_REQUEST {
        if stream.read_buf(&mut request).await? == 0 {
            break;
        }
    }
    Ok(!request.is_empty())
}

/// Ends the response, and waits until the client has closed. Closing a socket with unread input would reset the
/// connection, and the client could lose the end of the response.
async fn finish(stream: &mut dyn Stream) -> io::Result<()> {
    stream.shutdown().await?;
    let rest = async {
        let mut ignored = [0; 1024];
        let mut left = MAX_REQUEST;
        while left > 0 {
            match stream.read(&mut ignored).await {
                Ok(0) | Err(_) => return,
                Ok(size) => left = left.saturating_sub(size),
            }
        }
    };
    // after the timeout the connection is closed
    let _ = timeout(LINGER, rest).await;
    Ok(())
}

/// Enlarges the send buffer, so that one write can send the whole page. Some readers call recv(2) only once.
fn enlarge_send_buffer(stream: &dyn Stream, size: usize) {
    // if the buffer cannot be enlarged, several writes send the page
    let _ = setsockopt(&stream.as_fd(), sockopt::SndBuf, &size.min(MAX_SEND_BUFFER));
}
