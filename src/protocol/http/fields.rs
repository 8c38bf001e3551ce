//! Checks of header lines: of each line alone, and of all lines together.

use super::request::{Framing, Version};
use super::target;
use crate::protocol::refusal::Refusal;
use crate::protocol::text;

const FOLDED: Refusal = Refusal::bad("folded header line");
const NO_COLON: Refusal = Refusal::bad("header line without a colon");
const SPACE_IN_NAME: Refusal = Refusal::bad("white space before the colon of a header");
const BAD_NAME: Refusal = Refusal::bad("bad header name");
const NO_HOST: Refusal = Refusal::bad("no Host header");
const MANY_HOSTS: Refusal = Refusal::bad("more than one Host header");
const BAD_HOST: Refusal = Refusal::bad("bad Host header");
const OTHER_HOST: Refusal = Refusal::bad("Host header and request target disagree");
const BAD_LENGTH: Refusal = Refusal::bad("bad Content-Length");
const MANY_LENGTHS: Refusal = Refusal::bad("more than one Content-Length");
const BAD_CODING: Refusal = Refusal::bad("bad Transfer-Encoding");
const MANY_CODINGS: Refusal = Refusal::bad("more than one Transfer-Encoding");
const OTHER_CODING: Refusal = Refusal {
    status: 501,
    reason: "Transfer-Encoding other than chunked",
};
const LENGTH_AND_CODING: Refusal = Refusal::bad("Content-Length beside Transfer-Encoding");
const CODING_IN_10: Refusal = Refusal::bad("Transfer-Encoding in HTTP/1.0");
const EXPECTATION: Refusal = Refusal {
    status: 417,
    reason: "expectation other than 100-continue",
};

/// The values of the header lines that describe the message itself: Host, framing and connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    count: usize,
    /// Start and end of the Host header's value in the buffer.
    host: Option<(usize, usize)>,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
    expects_other: bool,
}

impl Fields {
    /// Number of header lines so far.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Checks and records a header line. The line begins at `at` in the buffer, and has neither CRLF nor control
    /// characters.
    pub(super) fn add(&mut self, line: &[u8], at: usize) -> Result<(), Refusal> {
        self.count += 1;
        if let [b' ' | b'\t', ..] = line {
            return Err(FOLDED);
        }
        let colon = line.iter().position(|&byte| byte == b':').ok_or(NO_COLON)?;
        let (name, rest) = line.split_at_checked(colon).ok_or(NO_COLON)?;
        if !text::is_token(name) {
            return Err(if let [.., b' ' | b'\t'] = name {
                SPACE_IN_NAME
            } else {
                BAD_NAME
            });
        }
        let raw = rest.get(1..).unwrap_or_default();
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                let value = text::trim(raw);
                let blank = raw
                    .iter()
                    .take_while(|&&byte| matches!(byte, b' ' | b'\t'))
                    .count();
                let start = at + colon + 1 + blank;
                if self.host.replace((start, start + value.len())).is_some() {
                    return Err(MANY_HOSTS);
                }
                // an empty Host is allowed only for targets without an authority (RFC 9112, 3.2); every target with the
                // scheme http has an authority
                if !target::authority_is_valid(value) {
                    return Err(BAD_HOST);
                }
            }
            6 if name.eq_ignore_ascii_case(b"expect") => self.expect(text::trim(raw)),
            10 if name.eq_ignore_ascii_case(b"connection") => self.connection(raw),
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = text::decimal(text::trim(raw)).ok_or(BAD_LENGTH)?;
                if self.length.replace(length).is_some() {
                    return Err(MANY_LENGTHS);
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.transfer_encoding(text::trim(raw))?
            }
            _ => {}
        }
        Ok(())
    }

    fn expect(&mut self, value: &[u8]) {
        if value.eq_ignore_ascii_case(b"100-continue") {
            self.expects_continue = true;
        } else {
            self.expects_other = true;
        }
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',').map(text::trim) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// Accepts `chunked` once. A list of codings that does not end with `chunked` leaves the end of the body unknown
    /// (400). A list that ends with `chunked` after other codings is valid but not supported (501).
    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.chunked {
            return Err(MANY_CODINGS);
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            self.chunked = true;
            return Ok(());
        }
        let mut codings = value.rsplit(|&byte| byte == b',').map(text::trim);
        let chunked_last = codings
            .next()
            .is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        let known_form = codings
            .all(|coding| text::is_token(coding) && !coding.eq_ignore_ascii_case(b"chunked"));
        Err(if chunked_last && known_form {
            OTHER_CODING
        } else {
            BAD_CODING
        })
    }

    /// The requested host: the authority of the target, else the value of the Host header.
    pub(super) fn host<'a>(
        &self,
        buf: &'a [u8],
        version: Version,
        authority: Option<&'a [u8]>,
    ) -> Result<Option<&'a [u8]>, Refusal> {
        let header = self.host.and_then(|(start, end)| buf.get(start..end));
        match (header, authority) {
            (None, _) if version == Version::Http11 => Err(NO_HOST),
            // if the two values differ, a proxy may have routed by one value while the application reads the other
            (Some(header), Some(authority)) if !header.eq_ignore_ascii_case(authority) => {
                Err(OTHER_HOST)
            }
            (header, authority) => Ok(authority.or(header)),
        }
    }

    /// Returns how the body of the request is delimited.
    pub(super) fn framing(&self, version: Version) -> Result<Framing, Refusal> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(LENGTH_AND_CODING),
            (true, None) if version == Version::Http10 => Err(CODING_IN_10),
            (true, None) => Ok(Framing::Chunked),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (false, None) => Ok(Framing::None),
        }
    }

    /// Whether the connection stays open after the response.
    pub(super) fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }

    /// Whether the client waits for `100 Continue`. HTTP/1.0 does not define the header Expect.
    pub(super) fn expect_continue(
        &self,
        version: Version,
        framing: Framing,
    ) -> Result<bool, Refusal> {
        if version == Version::Http10 {
            return Ok(false);
        }
        if self.expects_other {
            return Err(EXPECTATION);
        }
        Ok(self.expects_continue && !matches!(framing, Framing::None | Framing::Length(0)))
    }
}
