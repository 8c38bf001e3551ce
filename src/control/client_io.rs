//! One request and its response. The server may be hostile: the size and the time are limited, and texts are escaped.

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::log;
use crate::sys::unix_socket;

use crate::ipc::control::{Answer, Request};

/// Maximum length of a response, bytes.
const MAX_ANSWER: usize = 64 << 20;
/// Timeout for a response to a request that does not wait.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Sends a request to the server at a socket and reads its response.
///
/// # Errors
/// Those of connect(2), read(2) and write(2); `TimedOut`; `FileTooLarge`; `InvalidData` for a response that is not JSON.
pub(super) fn exchange(socket: &Path, request: &Request) -> io::Result<Answer> {
    let end = Instant::now() + TIMEOUT;
    let mut stream = unix_socket::connect(socket, TIMEOUT)?;
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(&text)?;
    let mut answer = Vec::new();
    let mut piece = vec![0; 64 << 10];
    while answer.last() != Some(&b'\n') {
        if !request.wait {
            let left = end.saturating_duration_since(Instant::now());
            // zero would mean no timeout
            stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        }
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(size) => answer.extend_from_slice(&piece[..size]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
        if answer.len() > MAX_ANSWER {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
    if answer.is_empty() {
        let what = "the server closed the connection without a response";
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
    }
    let mut answer = serde_json::from_slice(&answer)?;
    sanitize(&mut answer, false);
    Ok(serde_json::from_value(answer)?)
}

/// Escapes in all texts what controls a terminal or forges a line of output. `multiline` texts keep their line feeds.
fn sanitize(value: &mut Value, multiline: bool) {
    match value {
        Value::String(text) if multiline => {
            let shown: Vec<String> = text.lines().map(log::printable).collect();
            *text = shown.join("\n");
        }
        Value::String(text) => *text = log::printable(text),
        Value::Array(values) => values
            .iter_mut()
            .for_each(|value| sanitize(value, multiline)),
        // a traceback has several lines
        Value::Object(members) => members
            .iter_mut()
            .for_each(|(name, value)| sanitize(value, name == "traceback")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_response_cannot_control_the_terminal() {
        let mut answer = json!({"vassals": [
            {"reason": "\u{1b}[2J\nblog ready", "traceback": "one\n\u{9b}31mtwo\n"},
        ]});
        sanitize(&mut answer, false);
        let shown = json!({"vassals": [
            {"reason": "\\x1b[2J\\x0ablog ready", "traceback": "one\n\\xc2\\x9b31mtwo"},
        ]});
        assert_eq!(answer, shown);
    }
}
