//! `systemd`: the journal's own protocol, one datagram per event.

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
    /// A sink for the journal of this machine.
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

/// The fields of an entry. A text with line feeds is preceded by its length: systemd's JOURNAL_NATIVE_PROTOCOL.
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
