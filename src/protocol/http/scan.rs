//! The walk over the bytes of a head: lines, and what each says alone.

use super::fields::{Fields, Headers};
use super::{Limits, Refusal, Request, Version, target};
use crate::protocol::text;

/// Methods longer than any that exists are refused as unknown.
const LONGEST_METHOD: usize = 32;

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
    reason: "too many header lines",
};

/// How far a request's head has been looked at, and what was found; one per connection.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// No line end and no control character stands before this, except those already dealt with.
    looked: usize,
    /// Where the line being read began.
    line: usize,
    /// Where the request line begins: after an empty line that was skipped.
    start: usize,
    /// The request line, once it is whole.
    request: Option<RequestLine>,
    /// Where the header lines begin, after the request line.
    block: usize,
    fields: Fields,
    refused: Option<Refusal>,
}

/// The request line's parts, as lengths.
#[derive(Debug, Clone, Copy)]
struct RequestLine {
    method: usize,
    target: usize,
    version: Version,
}

impl Scan {
    /// Looks at what is new in `buf`: whether the head is complete.
    pub(super) fn advance(&mut self, buf: &[u8], limits: &Limits) -> Result<bool, Refusal> {
        if let Some(refusal) = self.refused {
            return Err(refusal);
        }
        if self.looked > buf.len() {
            // not the buffer of the last call: only the bytes can be believed
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

    /// Refuses this and whatever may follow on the connection.
    pub(super) fn condemn(&mut self, refusal: Refusal) -> Refusal {
        self.refused = Some(refusal);
        refusal
    }

    /// The next whole line without its CRLF, and where it begins.
    fn next_line<'a>(&mut self, head: &'a [u8]) -> Result<Option<(usize, &'a [u8])>, Refusal> {
        self.looked += text::before_control(head.get(self.looked..).unwrap_or_default());
        match head.get(self.looked..).unwrap_or_default() {
            [] | [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] => {
                let at = self.line;
                let line = head.get(at..self.looked).unwrap_or_default();
                self.looked += 2;
                self.line = self.looked;
                Ok(Some((at, line)))
            }
            [b'\r', ..] => Err(BARE_CR),
            [b'\n', ..] => Err(BARE_LF),
            [0x16, ..] if self.looked == 0 => Err(TLS),
            _ => Err(CONTROL),
        }
    }

    fn first_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if line.is_empty() {
            // one may be left over from a client that ends its last body with CRLF (RFC 9112 2.2)
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

    /// What to answer when the head does not fit.
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

    /// The request, of which every line has been seen.
    pub(super) fn request(self, buf: &[u8]) -> Result<Request<'_>, Refusal> {
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
        // the empty line's two bytes are not part of the block
        let block = buf
            .get(self.block..self.looked.saturating_sub(2))
            .unwrap_or_default();
        Ok(Request {
            head_len: self.looked,
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

impl RequestLine {
    /// `method SP target SP version`, with single spaces and no other white space.
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
        if method.len() > LONGEST_METHOD {
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
