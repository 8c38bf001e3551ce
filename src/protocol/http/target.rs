//! The request target (RFC 9112 3.2) and the path in it.

use std::borrow::Cow;

use crate::protocol::refusal::Refusal;
use crate::protocol::text;

const FRAGMENT: Refusal = Refusal::bad("fragment in the request target");
const BAD_TARGET: Refusal = Refusal::bad("request target is neither a path nor an http URL");
const BAD_AUTHORITY: Refusal = Refusal::bad("bad host in the request target");
const BAD_ESCAPE: Refusal = Refusal::bad("bad percent-encoding in the path");
const NUL: Refusal = Refusal::bad("%00 in the path");
const CONNECT: Refusal = Refusal {
    status: 501,
    reason: "CONNECT is for proxies",
};

/// The parts of a request target.
pub(super) struct Target<'a> {
    /// The path, resolved and decoded. Empty for a request to the server as a whole (`OPTIONS *`).
    pub(super) path: Cow<'a, [u8]>,
    pub(super) query: &'a [u8],
    /// The authority of a target in absolute form; `None` in another form.
    pub(super) authority: Option<&'a [u8]>,
}

/// Splits a target into its parts. The target contains neither spaces nor control characters.
///
/// Other characters that a URL should encode (`|`, `{`, bytes above ASCII) are accepted unencoded. Browsers send them
/// in queries, and they delimit nothing.
pub(super) fn resolve<'a>(method: &[u8], target: &'a [u8]) -> Result<Target<'a>, Refusal> {
    if method == b"CONNECT" {
        return Err(CONNECT);
    }
    if target.contains(&b'#') {
        return Err(FRAGMENT);
    }
    if target == b"*" && method == b"OPTIONS" {
        return Ok(Target {
            path: Cow::Borrowed(b""),
            query: b"",
            authority: None,
        });
    }
    if target.starts_with(b"/") {
        let (raw, query) = split_query(target);
        return Ok(Target {
            path: path(raw)?,
            query,
            authority: None,
        });
    }
    let rest = after_scheme(target).ok_or(BAD_TARGET)?;
    let end = rest
        .iter()
        .position(|&byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end).ok_or(BAD_TARGET)?;
    if !authority_is_valid(authority) {
        return Err(BAD_AUTHORITY);
    }
    let (raw, query) = split_query(rest);
    let path = match raw {
        // OPTIONS without a path asks about the server as a whole (RFC 9112 3.2.4)
        b"" if rest.is_empty() && method == b"OPTIONS" => Cow::Borrowed(&b""[..]),
        b"" => Cow::Borrowed(&b"/"[..]),
        raw => path(raw)?,
    };
    Ok(Target {
        path,
        query,
        authority: Some(authority),
    })
}

fn after_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"]
        .into_iter()
        .find_map(|scheme| {
            let (start, rest) = target.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        })
}

fn split_query(target: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = target.splitn(2, |&byte| byte == b'?');
    (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    )
}

/// Whether `authority` is a host with an optional port: a name, an IPv4 address or an IPv6 address in brackets.
///
/// User information is refused. A comma is refused although the grammar allows it in a name, because it is a sign of
/// two joined Host headers.
pub(super) fn authority_is_valid(authority: &[u8]) -> bool {
    let (host_is_valid, rest) = if let [b'[', rest @ ..] = authority {
        let mut parts = rest.splitn(2, |&byte| byte == b']');
        let address = parts.next().map(std::str::from_utf8);
        let good = matches!(address, Some(Ok(text)) if text.parse::<std::net::Ipv6Addr>().is_ok());
        let Some(rest) = parts.next() else {
            return false;
        };
        (good, rest)
    } else {
        let end = authority
            .iter()
            .position(|&byte| byte == b':')
            .unwrap_or(authority.len());
        let (name, rest) = authority.split_at_checked(end).unwrap_or_default();
        (name_is_valid(name), rest)
    };
    let port_is_valid = match rest {
        [] | [b':'] => true,
        [b':', port @ ..] => text::decimal(port).is_some_and(|port| port <= u64::from(u16::MAX)),
        _ => false,
    };
    host_is_valid && port_is_valid
}

fn name_is_valid(name: &[u8]) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%".contains(&byte);
    !name.is_empty()
        && name.iter().all(|&byte| allowed(byte))
        && escapes(name).all(|escape| escape.is_some())
}

/// Resolves and decodes a raw path, which begins with a slash. The result is PATH_INFO.
fn path(raw: &[u8]) -> Result<Cow<'_, [u8]>, Refusal> {
    let mut encoded = false;
    for escape in escapes(raw) {
        encoded = true;
        match escape {
            None => return Err(BAD_ESCAPE),
            Some(0) => return Err(NUL),
            Some(_) => {}
        }
    }
    let dotted = raw.windows(2).any(|pair| pair == b"/.");
    if !encoded && !dotted {
        return Ok(Cow::Borrowed(raw));
    }
    // an encoded slash or dot is part of its segment, so the segments `.` and `..` are resolved before the path is
    // decoded
    let resolved = if dotted {
        resolve_dots(raw)
    } else {
        raw.to_vec()
    };
    Ok(Cow::Owned(if encoded {
        decode(&resolved)
    } else {
        resolved
    }))
}

/// The byte of each percent-encoding in `text`; `None` for a `%` without two hexadecimal digits.
fn escapes(text: &[u8]) -> impl Iterator<Item = Option<u8>> + '_ {
    text.split(|&byte| byte == b'%')
        .skip(1)
        .map(|after| match after {
            [high, low, ..] => Some(text::hex_digit(*high)? << 4 | text::hex_digit(*low)?),
            _ => None,
        })
}

/// Decodes percent-encoding once. The caller has checked the encoding.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut parts = text.split(|&byte| byte == b'%');
    let mut out = Vec::with_capacity(text.len());
    out.extend_from_slice(parts.next().unwrap_or_default());
    for (part, byte) in parts.zip(escapes(text)) {
        out.extend(byte);
        out.extend_from_slice(part.get(2..).unwrap_or_default());
    }
    out
}

/// Removes each `.` segment, and each `..` segment with the segment before it, but nothing above the root. Empty
/// segments stay.
fn resolve_dots(raw: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(raw.len());
    let mut segments = raw.split(|&byte| byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            b"." => {}
            b".." => out.truncate(out.iter().rposition(|&byte| byte == b'/').unwrap_or(0)),
            segment => {
                out.push(b'/');
                out.extend_from_slice(segment);
                continue;
            }
        }
        if segments.peek().is_none() {
            out.push(b'/');
        }
    }
    out
}
