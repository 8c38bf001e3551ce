//! Entries of the systemd journal with fields, in its native protocol (systemd's JOURNAL_NATIVE_PROTOCOL): one datagram
//! per entry.
//!
//! If descriptor 2 is a stream of the journal (JOURNAL_STREAM), events and request lines become such entries. If the
//! socket of the journal does not accept an entry, the line goes to the stream.

use std::fmt::Display;
use std::sync::OnceLock;

use tracing::Level;

use super::environment::environment;
use super::sinks::datagram::Datagrams;

/// The socket of the journal.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// An environment variable with another path of the socket, for tests.
const SOCKET_VARIABLE: &str = "RUWSGI_JOURNAL_SOCKET";

/// An entry of the journal.
pub(super) struct Entry(Vec<u8>);

impl Entry {
    /// An entry with a priority of syslog(3), the name of the program, and a message.
    pub(super) fn new(priority: u8, program: &str, message: &[u8]) -> Self {
        let mut entry = Self(Vec::with_capacity(message.len() + 256));
        entry.number("PRIORITY", priority);
        entry.text("SYSLOG_IDENTIFIER", program.as_bytes());
        entry.text("MESSAGE", message);
        entry
    }

    /// Adds a field. A value with line feeds is preceded by its length.
    pub(super) fn text(&mut self, name: &str, value: &[u8]) {
        let out = &mut self.0;
        out.extend_from_slice(name.as_bytes());
        if value.contains(&b'\n') {
            out.push(b'\n');
            out.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            out.push(b'=');
        }
        out.extend_from_slice(value);
        out.push(b'\n');
    }

    /// Adds a field, unless its value is empty.
    pub(super) fn some_text(&mut self, name: &str, value: &[u8]) {
        if !value.is_empty() {
            self.text(name, value);
        }
    }

    /// Adds a field with a number.
    pub(super) fn number(&mut self, name: &str, value: impl Display) {
        self.text(name, value.to_string().as_bytes());
    }

    /// The datagram of the entry.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Sends the entry without waiting. Returns false if the journal has not taken it.
    pub(super) fn send(&self) -> bool {
        static JOURNAL: OnceLock<Option<Datagrams>> = OnceLock::new();
        let open = || {
            let path = std::env::var(SOCKET_VARIABLE).unwrap_or_else(|_| SOCKET.to_owned());
            Datagrams::open(&path).ok()
        };
        let journal = JOURNAL.get_or_init(open).as_ref();
        journal.is_some_and(|journal| journal.send(&self.0).is_ok())
    }
}

/// Whether the lines of this process go to the journal. Checked for each line, because descriptor 2 can be redirected.
#[inline]
pub(super) fn is_in_use() -> bool {
    environment().is_journal()
}

/// Sends an event of a process as an entry. Returns false if the line must be written to the stream.
pub(super) fn send_event(level: Level, process: &str, message: &str) -> bool {
    let vassal = environment().vassal.trim_end();
    let text = format!("{}{process}: {message}", environment().vassal);
    let mut entry = Entry::new(priority(level), "ruwsgi", text.as_bytes());
    entry.text("RUWSGI_PROCESS", process.as_bytes());
    entry.some_text("RUWSGI_VASSAL", vassal.as_bytes());
    if let Some(worker) = process.strip_prefix("worker ") {
        entry.text("RUWSGI_WORKER", worker.as_bytes());
    }
    entry.send()
}

/// The priority of syslog(3) for a level.
pub(super) fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_line_feeds_has_its_length() {
        let mut entry = Entry::new(4, "site", b"one\ntwo");
        entry.some_text("EMPTY", b"");
        entry.number("N", 7);
        let expected =
            b"PRIORITY=4\nSYSLOG_IDENTIFIER=site\nMESSAGE\n\x07\0\0\0\0\0\0\0one\ntwo\nN=7\n";
        assert_eq!(entry.bytes(), expected);
    }
}
