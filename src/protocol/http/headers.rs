//! The header lines that an application sees, and their keys in the environ dictionary.

use crate::protocol::text;

/// The header lines of a request in the order received, without the white space around values.
///
/// Two kinds of lines are left out because their environ key would mean something else: names with an underscore
/// (`X_User` has the key of `X-User`), and `Proxy` (HTTP_PROXY configures the proxy of a CGI program).
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a> {
    /// Complete lines with their CRLF, each checked by `Fields::add`.
    block: &'a [u8],
}

impl<'a> Headers<'a> {
    pub(super) fn new(block: &'a [u8]) -> Headers<'a> {
        Headers { block }
    }

    /// Iterates over names (as received) and values.
    pub fn iter(&self) -> HeaderIter<'a> {
        HeaderIter { rest: self.block }
    }

    /// The value of the first header with this name. Upper and lower case are equal.
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
            // the first control character of a valid line is the CR that ends it
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

/// Appends the environ key of a header: `HTTP_X_FOO` for `X-Foo`, and CONTENT_TYPE and CONTENT_LENGTH without prefix
/// (PEP 3333, RFC 3875 4.1.18).
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
