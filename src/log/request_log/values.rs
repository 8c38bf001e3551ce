//! Functions that append values to a request line.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::log::escape::escape_into;

use super::facts::LoggedRequest;

/// Appends a value that came from the client, escaped; a dash if it is empty.
pub(super) fn bytes(line: &mut Vec<u8>, text: &[u8]) -> io::Result<()> {
    match text {
        b"" => line.push(b'-'),
        text => escape_into(line, text),
    }
    Ok(())
}

/// Appends the request variable `name`, escaped as by [`bytes`]; a dash if it is absent or empty.
pub(super) fn variable(
    line: &mut Vec<u8>,
    request: &impl LoggedRequest,
    name: &[u8],
) -> io::Result<()> {
    bytes(line, request.variable(name).unwrap_or_default())
}

/// Returns the host that the client has named in the Host header. Without this header, returns the variable
/// SERVER_NAME. Empty if both are absent.
pub(super) fn host(request: &impl LoggedRequest) -> &[u8] {
    let host = request.variable(b"HTTP_HOST");
    host.or_else(|| request.variable(b"SERVER_NAME"))
        .unwrap_or_default()
}

/// Returns the current time in microseconds since the Unix epoch.
pub(super) fn now() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros())
}
