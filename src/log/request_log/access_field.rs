//! The fields of `access-log-format` that have no equivalent in `log-format`.

use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::sys::clock::LocalTime;

use super::facts::{LoggedRequest, Served};
use super::values::{bytes, now};

/// A name of gunicorn's `access_log_format` that has no equivalent in `log-format`.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessField {
    /// `t`: the start of the request, as `[21/Nov/2026:11:56:45 +0000]`.
    Time,
    /// `r`: method, URI and protocol.
    Line,
    /// `U`: the URI without its query.
    Path,
    /// `q`: the query.
    Query,
    /// `b`: bytes of the response body; a dash for an empty body.
    Bytes,
    /// `T`: the duration of the request, whole seconds.
    Seconds,
    /// `p`: the worker's process id, as `<71>`.
    Pid,
}

impl AccessField {
    /// Appends the value of this field to `line`. `pid` is the worker's process id.
    pub(super) fn put(
        self,
        line: &mut Vec<u8>,
        request: &impl LoggedRequest,
        served: &Served<'_>,
        pid: i32,
    ) -> io::Result<()> {
        let (path, query) = path_and_query(request.uri());
        match self {
            Self::Time => {
                let began = now().saturating_sub(u128::from(served.outcome.micros));
                let began = Duration::from_micros(began as u64);
                let time = LocalTime::at(UNIX_EPOCH + began);
                write!(line, "[{}]", time.common_log())
            }
            Self::Line => {
                bytes(line, request.method())?;
                line.push(b' ');
                bytes(line, request.uri())?;
                line.push(b' ');
                bytes(line, request.protocol())
            }
            Self::Path => bytes(line, path),
            Self::Query if query.is_empty() => Ok(()),
            Self::Query => bytes(line, query),
            Self::Bytes if served.outcome.body == 0 => write!(line, "-"),
            Self::Bytes => write!(line, "{}", served.outcome.body),
            Self::Seconds => write!(line, "{}", served.outcome.micros / 1_000_000),
            Self::Pid => write!(line, "<{pid}>"),
        }
    }
}

/// Splits a URI at its first question mark into path and query, without the question mark.
pub(super) fn path_and_query(uri: &[u8]) -> (&[u8], &[u8]) {
    match uri.iter().position(|byte| *byte == b'?') {
        Some(at) => (&uri[..at], &uri[at + 1..]),
        None => (uri, b""),
    }
}
