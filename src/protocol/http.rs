//! The head of an HTTP/1.1 or 1.0 request, read strictly (RFC 9112, RFC 9110) from a buffer that grows.
//!
//! Why not `httparse` with checks on top: it takes a bare LF for a line end, several empty lines before the request, and
//! hands out values already trimmed, so the checks would have to walk the raw bytes a second time to see what it let
//! pass; it knows nothing of Host, of framing or of targets, which is most of this; and it starts from the first byte
//! at every call, so a head that trickles in costs the square of its length. What it would save is the splitting of
//! lines at their first colon.
//!
//! The two halves: [`Scan`] goes over each byte once, whenever it arrives, and judges every line as soon as it is whole;
//! a mistake is answered at its line's end and not after a timeout. When the empty line is there, what the fields said
//! together is judged, and the request is handed out as slices of the buffer.

mod fields;
mod scan;
mod target;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use fields::{HeaderIter, Headers, environ_name};
pub use scan::Scan;

/// How much of a head is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole head, from the request line to the empty line.
    pub head: usize,
    /// Number of header lines, those that are dropped included.
    pub headers: usize,
}

/// What the buffer holds so far.
#[derive(Debug)]
pub enum Parsed<'a> {
    /// Nothing wrong yet, and not a whole head: read more.
    Partial,
    /// A whole head.
    Complete(Request<'a>),
}

/// The head of a request that is well-formed and says unambiguously where its body ends.
#[derive(Debug)]
pub struct Request<'a> {
    /// Bytes of the buffer that the head took; the body, or the next request, follows.
    pub head_len: usize,
    /// The method, a token of at most 32 bytes; methods are case-sensitive.
    pub method: &'a [u8],
    /// The request target as it came: REQUEST_URI.
    pub target: &'a [u8],
    /// PATH_INFO: the path, its raw `.` and `..` segments resolved and then percent-decoded once. It begins with a
    /// slash, but for `OPTIONS *`, which names the server and no path, and where it is empty.
    pub path: Cow<'a, [u8]>,
    /// What follows the first `?`, as it came: QUERY_STRING.
    pub query: &'a [u8],
    /// The version in the request line.
    pub version: Version,
    /// The header lines, without those an application must not see.
    pub headers: Headers<'a>,
    /// Where the request is meant for: of an absolute target its authority, else the Host header. `None` only in 1.0.
    pub host: Option<&'a [u8]>,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether the client expects the connection to stay open after the response.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body; never without a body, nor in 1.0.
    pub expect_continue: bool,
}

/// The versions that are spoken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

impl Version {
    /// The version as it stands in a request or status line.
    #[inline]
    pub fn as_bytes(self) -> &'static [u8] {
        match self {
            Version::Http10 => b"HTTP/1.0",
            Version::Http11 => b"HTTP/1.1",
        }
    }
}

/// How a request's body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// That many bytes (0 when `Content-Length: 0` was said), at most 2^63 - 1.
    Length(u64),
    /// Chunks, for [`super::body::ChunkDecoder`].
    Chunked,
}

/// Why a request is refused. It is to be answered once, and the connection closed without reading on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// The status of the answer.
    pub status: u16,
    /// What was wrong, for the page and the log; nothing of the request stands in it.
    pub reason: &'static str,
}

impl Refusal {
    /// A 400 that says `reason`.
    pub(super) const fn bad(reason: &'static str) -> Refusal {
        Refusal {
            status: 400,
            reason,
        }
    }
}

/// Reads the request at the start of `buf`.
///
/// `scan` belongs to the connection and remembers how far the same request was looked at before; `buf` must begin with
/// the same byte until the request is complete (it may have moved in memory). After [`Parsed::Complete`] the scan is
/// ready for the next request, which begins at `head_len` plus the body. After a refusal it refuses for good.
///
/// # Errors
/// The request must not be served: the status and the reason to answer with.
pub fn parse<'a>(buf: &'a [u8], limits: &Limits, scan: &mut Scan) -> Result<Parsed<'a>, Refusal> {
    match scan.advance(buf, limits) {
        Ok(false) => Ok(Parsed::Partial),
        Ok(true) => {
            let head = std::mem::take(scan);
            match head.request(buf) {
                Ok(request) => Ok(Parsed::Complete(request)),
                Err(refusal) => Err(scan.condemn(refusal)),
            }
        }
        Err(refusal) => Err(scan.condemn(refusal)),
    }
}
