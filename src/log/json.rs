//! The log as JSON (`log-json`): one object per line. docs/logging.md describes the fields, which are OpenTelemetry's.

use std::fmt::Display;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::SystemTime;

use tracing::Level;

use crate::sys::clock;

static IS_ON: AtomicBool = AtomicBool::new(false);

/// Switches the log of this process to JSON. Processes forked from now on inherit the setting.
pub fn use_json() {
    IS_ON.store(true, Relaxed);
}

#[inline]
pub(super) fn is_on() -> bool {
    IS_ON.load(Relaxed)
}

/// The subject of a record, written as `scope.name`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scope {
    Server,
    Request,
    Output,
}

/// Maximum length of the text and of the stack trace in a record that a process sends to the log thread, bytes. The sum
/// of all maximum lengths is below the size at which the channel cuts a record. A record that was cut would not be
/// valid JSON.
const MAX_TEXT: usize = 40 << 10;
/// Maximum length of each other string in such a record, bytes.
const MAX_FIELD: usize = 8 << 10;

/// A JSON object under construction.
pub(super) struct Object {
    out: Vec<u8>,
    /// Whether long strings are cut off. They are not cut off in records of the application's output, which the log
    /// thread makes itself.
    is_limited: bool,
}

impl Object {
    /// Begins a record with the current time, the severity and the scope.
    pub(super) fn record(level: Level, scope: Scope) -> Self {
        let mut object = Self {
            out: Vec::with_capacity(512),
            is_limited: true,
        };
        let (text, number) = severity(level);
        object.out.push(b'{');
        object.text("timestamp", clock::rfc3339(SystemTime::now()).as_bytes());
        object.text("severity_text", text.as_bytes());
        object.number("severity_number", number);
        object.text(
            "scope.name",
            match scope {
                Scope::Server => b"ruwsgi.server",
                Scope::Request => b"ruwsgi.request",
                Scope::Output => b"ruwsgi.output",
            },
        );
        object
    }

    /// Adds a member with a string value. Bytes that are not UTF-8 become U+FFFD.
    pub(super) fn text(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.out.push(b'"');
        let limit = match key {
            _ if !self.is_limited => usize::MAX,
            "body" | "exception.stacktrace" => MAX_TEXT,
            _ => MAX_FIELD,
        };
        push_beginning(&mut self.out, value, limit);
        self.out.push(b'"');
    }

    /// Adds a member with a string value, unless the value is empty.
    pub(super) fn some_text(&mut self, key: &str, value: &[u8]) {
        if !value.is_empty() {
            self.text(key, value);
        }
    }

    /// Adds a member with a numeric value.
    pub(super) fn number(&mut self, key: &str, value: impl Display) {
        self.key(key);
        // writing to a vector cannot fail
        let _ = write!(self.out, "{value}");
    }

    /// Closes the object and returns its text as a line, line feed included.
    pub(super) fn line(mut self) -> Vec<u8> {
        self.out.extend_from_slice(b"}\n");
        self.out
    }

    fn key(&mut self, key: &str) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.out.push(b'"');
        push_escaped(&mut self.out, key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

/// Returns SeverityText and SeverityNumber of OpenTelemetry's log data model.
fn severity(level: Level) -> (&'static str, u8) {
    match level {
        Level::ERROR => ("ERROR", 17),
        Level::WARN => ("WARN", 13),
        Level::INFO => ("INFO", 9),
        Level::DEBUG => ("DEBUG", 5),
        Level::TRACE => ("TRACE", 1),
    }
}

/// Returns the record for an event of the application's output. Its severity is ERROR if it contains a Python
/// traceback, otherwise INFO.
pub(super) fn output(pid: i32, event: &[u8]) -> Vec<u8> {
    let text = event.strip_suffix(b"\n").unwrap_or(event);
    let traceback = contains(text, b"Traceback (most recent call last):");
    let level = if traceback { Level::ERROR } else { Level::INFO };
    let mut object = Object::record(level, Scope::Output);
    object.is_limited = false;
    object.text("body", text);
    object.number("process.pid", pid);
    if traceback {
        exception(&mut object, text);
    }
    object.line()
}

/// Adds the exception of a Python traceback. Its type and message come from the last line that is not empty; the stack
/// trace is the whole text.
pub(super) fn exception(object: &mut Object, traceback: &[u8]) {
    let lines = traceback.split(|byte| *byte == b'\n');
    let last = lines
        .rev()
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    let colon = last.iter().position(|byte| *byte == b':');
    let (kind, message) = last.split_at(colon.unwrap_or(last.len()));
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    if !kind.is_empty() && kind.iter().all(is_name) {
        object.text("exception.type", kind);
        object.some_text("exception.message", message.get(2..).unwrap_or_default());
    }
    object.text("exception.stacktrace", traceback);
}

/// Whether `text` contains `part`.
pub(super) fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Appends bytes as the content of a JSON string. Invalid UTF-8 becomes U+FFFD, because JSON cannot represent other
/// bytes.
pub(super) fn push_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        chunk.valid().bytes().for_each(|byte| push_byte(out, byte));
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Appends bytes as the content of a JSON string, as [`push_escaped`] does. Leaves out the bytes that exceed `limit`.
fn push_beginning(out: &mut Vec<u8>, bytes: &[u8], limit: usize) {
    /// Maximum length of the escaped form of one byte, bytes.
    const MAX_ESCAPE: usize = 6;
    if bytes.len() <= limit / MAX_ESCAPE {
        return push_escaped(out, bytes);
    }
    let end = out.len().saturating_add(limit);
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        for (start, c) in valid.char_indices() {
            if out.len() + MAX_ESCAPE > end {
                return;
            }
            let bytes = valid.as_bytes().get(start..start + c.len_utf8());
            bytes
                .unwrap_or_default()
                .iter()
                .for_each(|byte| push_byte(out, *byte));
        }
        if out.len() + MAX_ESCAPE > end {
            return;
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Appends one byte of valid UTF-8, escaped if JSON requires it.
fn push_byte(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0..0x20 => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
        }
        _ => out.push(byte),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_traceback_names_its_exception() {
        let text = b"failed\nTraceback (most recent call last):\n  File x\na.B: no\n";
        let record: Value = serde_json::from_slice(&output(7, text)).unwrap();
        assert_eq!(record["exception.type"], "a.B");
        assert_eq!(record["exception.message"], "no");
        assert_eq!(record["severity_text"], "ERROR");
        assert_eq!(record["process.pid"], 7);
    }

    #[test]
    fn long_texts_of_a_record_are_cut_and_the_record_is_valid() {
        for text in [&b"\x01"[..], b"\xff", "\u{e9}".as_bytes(), b"\"a"] {
            let text = text.repeat(100_000);
            let mut object = Object::record(Level::INFO, Scope::Request);
            object.text("body", &text);
            object.text("url.path", &text);
            let line = object.line();
            let record: Value = serde_json::from_slice(&line).unwrap();
            assert!(line.len() < MAX_TEXT + MAX_FIELD + 300, "{}", line.len());
            assert!(record["body"].as_str().unwrap().len() > MAX_TEXT / 7);
            let output: Value = serde_json::from_slice(&output(1, &text)).unwrap();
            assert!(output["body"].as_str().unwrap().len() >= 100_000);
        }
    }

    /// Calls `check` for 256 random texts; for 1,000,000 with `KIT_BIG`.
    pub(in crate::log) fn for_random_texts(mut check: impl FnMut(&[u8])) {
        let count = std::env::var("KIT_BIG").map_or(256, |_| 1_000_000);
        let mut state = 7_u64;
        let mut text = Vec::new();
        for _ in 0..count {
            text.clear();
            let mut next = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state
            };
            let words = next() % 13;
            for _ in 0..words {
                text.extend_from_slice(&next().to_le_bytes());
            }
            check(&text);
        }
    }

    #[test]
    fn output_is_one_valid_object_per_line() {
        for_random_texts(|text| {
            let line = output(1, text);
            assert!(serde_json::from_slice::<Value>(&line).unwrap().is_object());
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        });
    }
}
