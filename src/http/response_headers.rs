//! The headers that the server adds to HTTP responses. Those of the application are in `application_headers.rs`.

use super::application_headers::ApplicationHeaders;
use super::date;
use super::framing::Framing;

/// The version in the status line of a response.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

impl Version {
    /// The version to respond with to a request of this SERVER_PROTOCOL: 1.0 if it is absent; any later version is
    /// answered with 1.1.
    #[inline]
    pub fn of_request(protocol: &[u8]) -> Self {
        match protocol {
            b"" | b"HTTP/1.0" => Self::Http10,
            _ => Self::Http11,
        }
    }

    /// The beginning of the status line, as `HTTP/1.1 `.
    #[inline]
    pub fn status_line_start(self) -> &'static [u8] {
        match self {
            Self::Http10 => b"HTTP/1.0 ",
            Self::Http11 => b"HTTP/1.1 ",
        }
    }
}

/// Whether the connection stays open after the response.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Persistence {
    /// It is closed.
    #[default]
    Close,
    /// It takes another request.
    KeepAlive,
}

/// Appends the server's headers: Date, Transfer-Encoding and Connection, as far as they are needed.
pub fn append(
    out: &mut Vec<u8>,
    application: &ApplicationHeaders,
    framing: Framing,
    version: Version,
    persistence: Persistence,
) {
    if !application.has_date {
        out.extend_from_slice(b"Date: ");
        date::append_now(out);
        out.extend_from_slice(b"\r\n");
    }
    if framing == Framing::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if application.switches {
        return;
    }
    match (persistence, version) {
        (Persistence::Close, _) => out.extend_from_slice(b"Connection: close\r\n"),
        (Persistence::KeepAlive, Version::Http10) => {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        (Persistence::KeepAlive, Version::Http11) => {}
    }
}
