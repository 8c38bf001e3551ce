//! A parsed request head.

use std::borrow::Cow;

use super::headers::Headers;

/// The limits of a request head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole head, from the request line to the empty line.
    pub head: usize,
    /// Number of header lines, including those that [`Headers`] leaves out.
    pub headers: usize,
}

/// The result of parsing the bytes in the buffer.
#[derive(Debug)]
pub enum Parsed<'a> {
    /// The head is incomplete and valid so far. The caller reads more bytes.
    Partial,
    /// The head is complete.
    Complete(Request<'a>),
}

/// A well-formed head that says without ambiguity where the body ends.
#[derive(Debug)]
pub struct Request<'a> {
    /// Bytes of the head in the buffer. The body or the next request follows.
    pub head_len: usize,
    /// The method: a token of at most 32 bytes, case-sensitive.
    pub method: &'a [u8],
    /// The request target as received: REQUEST_URI.
    pub target: &'a [u8],
    /// PATH_INFO: the path after the `.` and `..` segments are resolved and the percent-encoding is decoded once. The
    /// path begins with a slash. It is empty for a request to the server as a whole (`OPTIONS *`).
    pub path: Cow<'a, [u8]>,
    /// The bytes after the first `?`, as received: QUERY_STRING.
    pub query: &'a [u8],
    /// The version in the request line.
    pub version: Version,
    /// The header lines, except those that an application must not see.
    pub headers: Headers<'a>,
    /// The requested host: the authority of an absolute target, else the Host header. `None` only in HTTP/1.0.
    pub host: Option<&'a [u8]>,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether the client expects the connection to stay open after the response.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body. False without a body and in HTTP/1.0.
    pub expect_continue: bool,
}

/// The supported HTTP versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

impl Version {
    /// The version as written in a request line or a status line.
    #[inline]
    pub fn as_bytes(self) -> &'static [u8] {
        match self {
            Version::Http10 => b"HTTP/1.0",
            Version::Http11 => b"HTTP/1.1",
        }
    }
}

/// How the body of a request is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The request has no body.
    None,
    /// The body has this number of bytes, at most 2^63 - 1; 0 for `Content-Length: 0`.
    Length(u64),
    /// The body is chunked, for [`ChunkDecoder`](crate::protocol::body::ChunkDecoder).
    Chunked,
}
