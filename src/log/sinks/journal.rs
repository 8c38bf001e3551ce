//! `systemd`: the native protocol of the systemd journal, one datagram per event.

use std::io;

use crate::log::journal::{Entry, SOCKET};

use super::datagram::Datagrams;
use super::priority;
use super::sink::{Drops, Sink};

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
        let text = event.strip_suffix(b"\n").unwrap_or(event);
        let entry = Entry::new(priority::of(text), "uwsgi", text);
        match self.datagrams.send(entry.bytes()) {
            Ok(()) => self.drops.end("systemd journal"),
            Err(error) => self.drops.add("systemd journal", error),
        }
    }
}
