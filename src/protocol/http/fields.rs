//! Header lines: what each must look like, what they say together, and what an application sees of them.

use super::{Framing, Refusal, Version, target};
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

/// What the header lines said about the message itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    count: usize,
    /// Where the Host header's value stands in the buffer.
    host: Option<(usize, usize)>,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
    expects_other: bool,
}

impl Fields {
    /// Header lines so far.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Takes the line that begins at `at` in the buffer, without its CRLF and free of control characters.
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
                if !value.is_empty() && !target::authority_is_valid(value) {
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

    /// Only `chunked`, said once. A list that does not end with it has no known end (400); one that does, after other
    /// codings, is right and not spoken here (501).
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

    /// Where the request is meant for.
    pub(super) fn host<'a>(
        &self,
        buf: &'a [u8],
        version: Version,
        authority: Option<&'a [u8]>,
    ) -> Result<Option<&'a [u8]>, Refusal> {
        let header = self.host.and_then(|(start, end)| buf.get(start..end));
        match (header, authority) {
            (None, _) if version == Version::Http11 => Err(NO_HOST),
            // a proxy in front may have judged by the one, the application judges by the other
            (Some(header), Some(authority)) if !header.eq_ignore_ascii_case(authority) => {
                Err(OTHER_HOST)
            }
            (header, authority) => Ok(authority.or(header)),
        }
    }

    /// How the body is delimited.
    pub(super) fn framing(&self, version: Version) -> Result<Framing, Refusal> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(LENGTH_AND_CODING),
            (true, None) if version == Version::Http10 => Err(CODING_IN_10),
            (true, None) => Ok(Framing::Chunked),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (false, None) => Ok(Framing::None),
        }
    }

    /// Whether the connection is to stay open.
    pub(super) fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }

    /// Whether the client waits for `100 Continue`. In 1.0 the header means nothing.
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

/// The header lines of a request in the order they came, repeated ones repeated, values without the space around them.
///
/// Two kinds are left out, because in an environ they would pose as something else: names with an underscore (`X_User`
/// and `X-User` become the same key) and `Proxy` (as HTTP_PROXY it is a CGI program's proxy setting).
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a> {
    /// Whole lines with their CRLF, every one of them seen by [`Fields::add`].
    block: &'a [u8],
}

impl<'a> Headers<'a> {
    pub(super) fn new(block: &'a [u8]) -> Headers<'a> {
        Headers { block }
    }

    /// Iterates over names (as they came) and values.
    pub fn iter(&self) -> HeaderIter<'a> {
        HeaderIter { rest: self.block }
    }

    /// The value of the first header called `name`, in whatever case.
    pub fn get(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        self.iter()
    }
}

/// Iterates over [`Headers`].
#[derive(Debug, Clone)]
pub struct HeaderIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // the first control character of a line that was judged good is the CR that ends it
            let (line, rest) = self
                .rest
                .split_at_checked(text::before_control(self.rest))?;
            self.rest = rest.get(2..).unwrap_or_default();
            let colon = line.iter().position(|&byte| byte == b':')?;
            let (name, value) = line.split_at_checked(colon)?;
            if !name.contains(&b'_') && !name.eq_ignore_ascii_case(b"proxy") {
                return Some((name, text::trim(value.get(1..).unwrap_or_default())));
            }
        }
    }
}

impl std::iter::FusedIterator for HeaderIter<'_> {}

/// Appends the environ key of a header: `HTTP_X_FOO` for `X-Foo`, but CONTENT_TYPE and CONTENT_LENGTH by themselves.
pub fn environ_name(header: &[u8], out: &mut Vec<u8>) {
    let bare = header.eq_ignore_ascii_case(b"content-type")
        || header.eq_ignore_ascii_case(b"content-length");
    if !bare {
        out.extend_from_slice(b"HTTP_");
    }
    out.extend(header.iter().map(|&byte| {
        if byte == b'-' {
            b'_'
        } else {
            byte.to_ascii_uppercase()
        }
    }));
}
