//! The incremental parser: finds the lines of a head, checks each, and builds the request.

use super::fields::Fields;
use super::headers::Headers;
use super::request::{Limits, Parsed, Request, Version};
use super::target;
use crate::protocol::refusal::Refusal;
use crate::protocol::text;

/// Maximum bytes of a method. No registered method is longer.
const MAX_METHOD: usize = 32;

const CONTROL: Refusal = Refusal::bad("control character in the request head");
const BARE_CR: Refusal = Refusal::bad("CR without LF");
const BARE_LF: Refusal = Refusal::bad("LF without CR");
const TLS: Refusal = Refusal::bad("TLS spoken to a plain HTTP socket");
const EMPTY_LINES: Refusal = Refusal::bad("empty lines before the request line");
const REQUEST_LINE: Refusal = Refusal::bad("bad request line");
const METHOD: Refusal = Refusal::bad("bad method");
const LONG_METHOD: Refusal = Refusal {
    status: 501,
    reason: "unknown method",
};
const NO_VERSION: Refusal = Refusal::bad("bad HTTP version");
const OTHER_VERSION: Refusal = Refusal {
    status: 505,
    reason: "HTTP version not supported",
};
const LONG_TARGET: Refusal = Refusal {
    status: 414,
    reason: "request target too long",
};
const LARGE_HEAD: Refusal = Refusal {
    status: 431,
    reason: "request head too large",
};
const MANY_HEADERS: Refusal = Refusal {
    status: 431,
    reason: "more header lines than limit-headers",
};

/// The state of the parser between two reads; one per connection.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// Number of scanned bytes. All line ends and control characters among these bytes have been handled.
    scanned: usize,
    /// Start of the current line.
    line: usize,
    /// Start of the request line. It is not 0 if an empty line was skipped.
    start: usize,
    /// The request line; `None` until it is complete.
    request: Option<RequestLine>,
    /// Start of the header lines.
    block: usize,
    fields: Fields,
    /// The refusal. Every later call returns the same refusal.
    refused: Option<Refusal>,
}

/// The lengths of the method and the target in the request line, and the version.
#[derive(Debug, Clone, Copy)]
struct RequestLine {
    method: usize,
    target: usize,
    version: Version,
}

impl Scan {
    /// Scans the new bytes of `buf`; true when the head is complete.
    fn advance(&mut self, buf: &[u8], limits: &Limits) -> Result<bool, Refusal> {
        if let Some(refusal) = self.refused {
            return Err(refusal);
        }
        if self.scanned > buf.len() {
            // the buffer is not the buffer of the last call, so the scan starts again
            *self = Scan::default();
        }
        let head = buf.get(..limits.head).unwrap_or(buf);
        while let Some((at, line)) = self.next_line(head)? {
            if self.request.is_none() {
                self.first_line(line)?;
            } else if line.is_empty() {
                return Ok(true);
            } else if self.fields.count() == limits.headers {
                return Err(MANY_HEADERS);
            } else {
                self.fields.add(line, at)?;
            }
        }
        if head.len() == limits.head {
            Err(self.too_large(head))
        } else {
            Ok(false)
        }
    }

    /// Records the refusal, for this call and all later ones.
    fn refuse(&mut self, refusal: Refusal) -> Refusal {
        self.refused = Some(refusal);
        refusal
    }

    /// The start of the next complete line, and the line without its CRLF. `None` if the line is incomplete.
    fn next_line<'a>(&mut self, head: &'a [u8]) -> Result<Option<(usize, &'a [u8])>, Refusal> {
        self.scanned += text::before_control(head.get(self.scanned..).unwrap_or_default());
        match head.get(self.scanned..).unwrap_or_default() {
            [] | [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] => {
                let at = self.line;
                let line = head.get(at..self.scanned).unwrap_or_default();
                self.scanned += 2;
                self.line = self.scanned;
                Ok(Some((at, line)))
            }
            [b'\r', ..] => Err(BARE_CR),
            [b'\n', ..] => Err(BARE_LF),
            [0x16, ..] if self.scanned == 0 => Err(TLS),
            _ => Err(CONTROL),
        }
    }

    fn first_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if line.is_empty() {
            // some clients send a CRLF after the body of the previous request (RFC 9112 2.2)
            if self.start > 0 {
                return Err(EMPTY_LINES);
            }
            self.start = self.line;
            return Ok(());
        }
        self.request = Some(RequestLine::read(line)?);
        self.block = self.line;
        Ok(())
    }

    /// The refusal of a head that exceeds the limit. The status depends on the part of the head that is too long.
    fn too_large(&self, head: &[u8]) -> Refusal {
        if self.request.is_some() {
            return LARGE_HEAD;
        }
        let line = head.get(self.start..).unwrap_or_default();
        match line.iter().position(|&byte| byte == b' ') {
            Some(space) if text::is_token(line.get(..space).unwrap_or_default()) => LONG_TARGET,
            _ => REQUEST_LINE,
        }
    }

    /// Builds the request from a complete head.
    fn request(self, buf: &[u8]) -> Result<Request<'_>, Refusal> {
        let line = self.request.ok_or(REQUEST_LINE)?;
        let rest = buf.get(self.start..).unwrap_or_default();
        let (method, rest) = rest.split_at_checked(line.method).ok_or(REQUEST_LINE)?;
        let raw = rest
            .get(1..)
            .and_then(|rest| rest.get(..line.target))
            .ok_or(REQUEST_LINE)?;
        let target = target::resolve(method, raw)?;
        let host = self.fields.host(buf, line.version, target.authority)?;
        let framing = self.fields.framing(line.version)?;
        // the header lines, without the CRLF of the empty line after them
        let block = buf
            .get(self.block..self.scanned.saturating_sub(2))
            .unwrap_or_default();
        Ok(Request {
            head_len: self.scanned,
            method,
            target: raw,
            path: target.path,
            query: target.query,
            version: line.version,
            headers: Headers::new(block),
            host,
            framing,
            keep_alive: self.fields.keep_alive(line.version),
            expect_continue: self.fields.expect_continue(line.version, framing)?,
        })
    }
}

/// Parses the request at the start of `buf`.
///
/// `scan` belongs to the connection and keeps the state between calls. Until the request is complete, `buf` must begin
/// with the first byte of the request; it may move in memory. After [`Parsed::Complete`] the scan is ready for the next
/// request, which begins after `head_len` bytes and the body. After a refusal every further call returns the same
/// refusal.
///
/// # Errors
/// The request must not be served: the status and the reason of the response.
pub fn parse<'a>(buf: &'a [u8], limits: &Limits, scan: &mut Scan) -> Result<Parsed<'a>, Refusal> {
    match scan.advance(buf, limits) {
        Ok(false) => Ok(Parsed::Partial),
        Ok(true) => {
            let head = std::mem::take(scan);
            match head.request(buf) {
                Ok(request) => Ok(Parsed::Complete(request)),
                Err(refusal) => Err(scan.refuse(refusal)),
            }
        }
        Err(refusal) => Err(scan.refuse(refusal)),
    }
}

impl RequestLine {
    /// Parses `method SP target SP version`, with single spaces and no other white space.
    fn read(line: &[u8]) -> Result<RequestLine, Refusal> {
        if line.contains(&b'\t') {
            return Err(REQUEST_LINE);
        }
        let mut parts = line.split(|&byte| byte == b' ');
        let method = parts.next().unwrap_or_default();
        if !text::is_token(method) {
            return Err(METHOD);
        }
        let (Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(REQUEST_LINE);
        };
        let version = read_version(version)?;
        if target.is_empty() {
            return Err(REQUEST_LINE);
        }
        if method.len() > MAX_METHOD {
            return Err(LONG_METHOD);
        }
        Ok(RequestLine {
            method: method.len(),
            target: target.len(),
            version,
        })
    }
}

fn read_version(version: &[u8]) -> Result<Version, Refusal> {
    match version {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(OTHER_VERSION),
        _ => Err(NO_VERSION),
    }
}
