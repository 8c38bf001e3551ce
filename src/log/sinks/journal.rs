//! `systemd`: the native protocol of the systemd journal, one datagram per event.

use std::io;

use super::datagram::Datagrams;
use super::priority;
use super::sink::{Drops, Sink};

const SOCKET: &str = "/run/systemd/journal/socket";

pub(super) struct JournalSink {
    datagrams: Datagrams,
    drops: Drops,
}

impl JournalSink {
    /// Creates a sink for the systemd journal of this machine.
    ///
    /// # Errors
    /// Those of socket(2).
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            datagrams: Datagrams::open(SOCKET)?,
            drops: Drops::default(),
        })
    }
}

impl Sink for JournalSink {
    fn write(&mut self, event: &[u8]) {
        match self.datagrams.send(&message(event)) {
            Ok(()) => self.drops.end("systemd journal"),
            Err(error) => self.drops.add("systemd journal", error),
        }
    }
}

/// Returns the fields of a journal entry. The message is preceded by its length, because it may contain line feeds; see
/// systemd's JOURNAL_NATIVE_PROTOCOL.
fn message(event: &[u8]) -> Vec<u8> {
    let event = event.strip_suffix(b"\n").unwrap_or(event);
    let priority = priority::of(event);
    let head = format!("PRIORITY={priority}\nSYSLOG_IDENTIFIER=uwsgi\nMESSAGE\n");
    let mut message = head.into_bytes();
    message.extend_from_slice(&(event.len() as u64).to_le_bytes());
    message.extend_from_slice(event);
    message.push(b'\n');
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_line_feeds_is_one_field() {
        let fields = message(b"one\ntwo\n");
        assert!(fields.ends_with(b"MESSAGE\n\x07\0\0\0\0\0\0\0one\ntwo\n"));
    }
}
