//! Text with references: groups of the last regular expression, request variables, cookies, parameters, times.

use serde::{Deserialize, Serialize};

use super::facts::Facts;

/// A part of a [`Template`].
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
enum Piece {
    Text(String),
    /// `$N`: a group of the last regular expression; 0 is the whole match.
    Group(u8),
    /// `${NAME}`: a request variable.
    Variable(String),
    /// `${cookie[NAME]}`.
    Cookie(String),
    /// `${qs[NAME]}`: a parameter of the query, as it was sent.
    Parameter(String),
    /// `${time[unix]}`: seconds since 1970.
    UnixTime,
    /// `${httptime[N]}`: the time in N seconds, as in HTTP headers.
    HttpTime(i64),
    /// `${uwsgi[wid]}`: the worker's id.
    WorkerId,
    /// `${uwsgi[pid]}`: the worker's process id.
    ProcessId,
    /// `${uwsgi[status]}`: the status of the response.
    Status,
}

/// Text with references.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Parses a text.
    ///
    /// # Errors
    /// A sentence about an unknown reference.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, from) = rest.split_at(at);
            plain.push_str(before);
            let after = &from[1..];
            let (piece, len) = match after.chars().next() {
                Some(digit @ '0'..='9') => (Some(Piece::Group(digit as u8 - b'0')), 2),
                Some('{') => match after.find('}') {
                    Some(end) => (Some(reference(&after[1..end])?), end + 2),
                    None => return Err(format!("${after} has no closing brace")),
                },
                _ => (None, 1),
            };
            match piece {
                Some(piece) => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(piece);
                }
                None => plain.push('$'),
            }
            rest = &from[len..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// The text for a request.
    pub(super) fn expand(&self, facts: &Facts<'_>) -> Vec<u8> {
        let mut text = Vec::new();
        for piece in &self.0 {
            piece.append(facts, &mut text);
        }
        facts.count(text.len());
        text
    }
}

/// Parses the text between the braces of a reference.
fn reference(text: &str) -> Result<Piece, String> {
    let Some((function, argument)) = text.strip_suffix(']').and_then(|it| it.split_once('['))
    else {
        return Ok(Piece::Variable(text.to_owned()));
    };
    let unknown = || {
        format!(
            "${{{text}}} is not known: there are ${{VARIABLE}}, cookie, qs, time[unix], httptime, uwsgi[wid], uwsgi[pid] and uwsgi[status]"
        )
    };
    Ok(match (function, argument) {
        ("cookie", name) => Piece::Cookie(name.to_owned()),
        ("qs", name) => Piece::Parameter(name.to_owned()),
        ("time", "unix") => Piece::UnixTime,
        ("httptime", "") => Piece::HttpTime(0),
        ("httptime", seconds) => Piece::HttpTime(seconds.parse().map_err(|_| unknown())?),
        ("uwsgi", "wid") => Piece::WorkerId,
        ("uwsgi", "pid") => Piece::ProcessId,
        ("uwsgi", "status") => Piece::Status,
        _ => return Err(unknown()),
    })
}

impl Piece {
    fn append(&self, facts: &Facts<'_>, text: &mut Vec<u8>) {
        match self {
            Self::Text(plain) => text.extend_from_slice(plain.as_bytes()),
            Self::Group(number) => text.extend_from_slice(facts.group(*number)),
            Self::Variable(name) => text.extend_from_slice(facts.variable(name.as_bytes())),
            Self::Cookie(name) => {
                let cookies = facts.variable(b"HTTP_COOKIE").split(|byte| *byte == b';');
                text.extend_from_slice(value_of(cookies, name.as_bytes()));
            }
            Self::Parameter(name) => {
                let parameters = facts.variable(b"QUERY_STRING").split(|byte| *byte == b'&');
                text.extend_from_slice(value_of(parameters, name.as_bytes()));
            }
            Self::UnixTime => text.extend_from_slice(facts.now.to_string().as_bytes()),
            Self::HttpTime(offset) => {
                let at = facts.now.saturating_add_signed(*offset);
                text.extend_from_slice(http_date(at).as_bytes());
            }
            Self::WorkerId => text.extend_from_slice(facts.worker_id.to_string().as_bytes()),
            Self::ProcessId => text.extend_from_slice(std::process::id().to_string().as_bytes()),
            Self::Status => text.extend_from_slice(facts.status.to_string().as_bytes()),
        }
    }
}

/// The value of the first item `name=value`; empty if there is none.
fn value_of<'a>(mut items: impl Iterator<Item = &'a [u8]>, name: &[u8]) -> &'a [u8] {
    let found = items.find_map(|item| {
        let value = item.trim_ascii_start().strip_prefix(name)?;
        value.strip_prefix(b"=")
    });
    found.unwrap_or_default()
}

/// A time in seconds since 1970, as in HTTP headers; the latest possible date for a later one.
pub(super) fn http_date(seconds: u64) -> String {
    /// The last second of the year 9999.
    const LATEST: u64 = 253_402_300_799;
    let since = std::time::Duration::from_secs(seconds.min(LATEST));
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + since)
}
