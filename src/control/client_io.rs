//! Sends one request and reads its response. The server may be hostile: size and time are limited, and texts are
//! escaped.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::log;
use crate::net::unix_socket;
use crate::sys::{socket, user};

use crate::ipc::control::{Answer, Request};

/// Maximum length of a response, bytes.
const MAX_ANSWER: usize = 64 << 20;
/// Timeout for the response to a request without `wait`.
pub(super) const TIMEOUT: Duration = Duration::from_secs(15);

/// Sends a request to the server at a socket and reads its response.
///
/// # Errors
/// Returns the errors of connect(2), read(2), write(2) and [`check_server`]; `TimedOut` after the timeout;
/// `FileTooLarge` for a response over the maximum length; `InvalidData` for a response that is not JSON.
pub(super) fn exchange(path: &Path, request: &Request) -> io::Result<Answer> {
    let end = Instant::now() + TIMEOUT;
    let mut stream = unix_socket::connect(path, TIMEOUT)?;
    check_server(&stream, path)?;
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(&text)?;
    let mut answer = Vec::new();
    let mut piece = vec![0; 64 << 10];
    while answer.last() != Some(&b'\n') {
        if !request.wait {
            let left = end.saturating_duration_since(Instant::now());
            // a timeout of zero would mean no timeout
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
    parse(&answer)
}

/// Refuses a server that runs neither as root nor as the owner of its socket. Such a server may imitate another server.
///
/// # Errors
/// Returns `InvalidData` with a sentence for such a server; otherwise the errors of stat(2) and getsockopt(2).
pub(super) fn check_server(stream: &UnixStream, path: &Path) -> io::Result<()> {
    let peer = socket::peer_user(stream.as_fd())?;
    let owner = std::fs::metadata(path)?.uid();
    if peer == owner || peer == 0 {
        return Ok(());
    }
    let (peer, owner) = (user::name_of(peer), user::name_of(owner));
    let what = format!("its server runs as user {peer}, but the socket belongs to {owner}");
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// Parses a response, and escapes its texts.
///
/// # Errors
/// Returns `UnexpectedEof` for an empty response, and `InvalidData` for a response that is not JSON.
pub(super) fn parse(answer: &[u8]) -> io::Result<Answer> {
    if answer.is_empty() {
        let what = "the server closed the connection without a response";
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
    }
    let mut answer = serde_json::from_slice(answer)?;
    sanitize(&mut answer, false);
    Ok(serde_json::from_value(answer)?)
}

/// Escapes characters that control a terminal or forge a line of output, in all texts. If `multiline` is true, the
/// texts keep their line feeds.
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
        // a traceback keeps its line feeds
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
