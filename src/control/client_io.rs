//! One question and its answer. Who listens at a socket may be anybody: the answer has its limits, and is made fit to be shown.

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::log;
use crate::sys::unix_socket;

use crate::ipc::control::{Answer, Request};

/// The longest answer, bytes.
const LONGEST_ANSWER: usize = 64 << 20;
/// How long an answer may take that has nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(15);

/// Asks who listens at a socket.
///
/// # Errors
/// When nobody answers there in time, or not in our language.
pub(super) fn exchange(socket: &Path, request: &Request) -> io::Result<Answer> {
    let end = Instant::now() + PATIENCE;
    let mut stream = unix_socket::connect(socket, PATIENCE)?;
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&text)?;
    let mut answer = Vec::new();
    let mut piece = vec![0; 64 << 10];
    while answer.last() != Some(&b'\n') {
        if !request.wait {
            let left = end.saturating_duration_since(Instant::now());
            // none at all would mean for ever
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
        if answer.len() > LONGEST_ANSWER {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
    if answer.is_empty() {
        let what = "it ended before it answered";
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
    }
    let mut answer = serde_json::from_slice(&answer)?;
    disarm(&mut answer, false);
    Ok(serde_json::from_value(answer)?)
}

/// Takes out of all texts what would command a terminal, or forge a line of what is shown.
fn disarm(value: &mut Value, lines: bool) {
    match value {
        Value::String(text) if lines => {
            let shown: Vec<String> = text.lines().map(log::printable).collect();
            *text = shown.join("\n");
        }
        Value::String(text) => *text = log::printable(text),
        Value::Array(values) => values.iter_mut().for_each(|value| disarm(value, lines)),
        // a traceback has lines
        Value::Object(members) => members
            .iter_mut()
            .for_each(|(name, value)| disarm(value, name == "traceback")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_that_was_answered_commands_a_terminal() {
        let mut answer = json!({"vassals": [
            {"reason": "\u{1b}[2J\nblog ready", "traceback": "one\n\u{9b}31mtwo\n"},
        ]});
        disarm(&mut answer, false);
        let shown = json!({"vassals": [
            {"reason": "\\x1b[2J\\x0ablog ready", "traceback": "one\n\\xc2\\x9b31mtwo"},
        ]});
        assert_eq!(answer, shown);
    }
}
