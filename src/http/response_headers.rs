//! The headers that the server adds to HTTP responses. The application's headers are in `application_headers.rs`.

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
    /// The version of the response to a request with this SERVER_PROTOCOL: HTTP/1.0 for HTTP/1.0 or an empty value,
    /// HTTP/1.1 for any other.
    #[inline]
    pub fn of_request(protocol: &[u8]) -> Self {
        match protocol {
            b"" | b"HTTP/1.0" => Self::Http10,
            _ => Self::Http11,
        }
    }

    /// The beginning of the status line, such as `HTTP/1.1 ` with its space.
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
    /// The connection is closed.
    #[default]
    Close,
    /// The connection takes another request.
    KeepAlive,
}

/// Appends the server's headers to `out`: Date, Transfer-Encoding and Connection, each only if it is needed.
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
    match (persistence, version) {
        (Persistence::Close, _) => out.extend_from_slice(b"Connection: close\r\n"),
        (Persistence::KeepAlive, Version::Http10) => {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        (Persistence::KeepAlive, Version::Http11) => {}
    }
}
