//! `syslog` and `rsyslog`: messages of RFC 3164 as datagrams, to `/dev/log` or to an address.

use std::io;

use crate::log::settings::SyslogEngine;
use crate::sys::clock::LocalTime;

use super::datagram::Datagrams;
use super::sink::{Drops, Sink};

/// The Unix socket of this machine's syslog daemon.
const LOCAL: &str = "/dev/log";

/// The maximum size of a message, and the treatment of longer messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packets {
    /// Maximum size of a message including its head, bytes.
    pub(super) size: usize,
    /// Whether a longer event is split into several messages; otherwise its end is cut off.
    pub(super) split: bool,
}

pub(super) struct SyslogSink {
    name: String,
    datagrams: Datagrams,
    syslog: SyslogEngine,
    packets: Packets,
    drops: Drops,
}

impl SyslogSink {
    /// Creates a sink for the syslog daemon of this machine.
    ///
    /// # Errors
    /// Those of socket(2).
    pub(super) fn local(syslog: SyslogEngine) -> io::Result<Self> {
        let packets = Packets {
            size: 64 << 10,
            split: false,
        };
        Self::open("syslog".to_owned(), LOCAL, syslog, packets)
    }

    /// Creates a sink for the syslog daemon at `address`: a path, `HOST:PORT`, or `HOST` with the default port 514.
    ///
    /// # Errors
    /// Those of [`Datagrams::open`].
    pub(super) fn remote(
        address: &str,
        syslog: SyslogEngine,
        packets: Packets,
    ) -> io::Result<Self> {
        let is_path = address.starts_with('/');
        let with_port = match is_path || address.contains(':') {
            true => address.to_owned(),
            false => format!("{address}:514"),
        };
        Self::open(format!("rsyslog {address}"), &with_port, syslog, packets)
    }

    fn open(
        name: String,
        address: &str,
        syslog: SyslogEngine,
        packets: Packets,
    ) -> io::Result<Self> {
        Ok(Self {
            name,
            datagrams: Datagrams::open(address)?,
            syslog,
            packets,
            drops: Drops::default(),
        })
    }
}

impl Sink for SyslogSink {
    fn write(&mut self, event: &[u8]) {
        let head = head(&self.syslog, &LocalTime::now());
        let event = event.strip_suffix(b"\n").unwrap_or(event);
        let room = self.packets.size.saturating_sub(head.len()).max(1);
        let pieces = match self.packets.split {
            true => event.chunks(room),
            false => event.get(..room).unwrap_or(event).chunks(room),
        };
        for piece in pieces {
            let mut message = head.clone().into_bytes();
            message.extend_from_slice(piece);
            match self.datagrams.send(&message) {
                Ok(()) => self.drops.end(&self.name),
                Err(error) => self.drops.add(&self.name, error),
            }
        }
    }
}

/// Returns the head of a message: priority, time and identity, such as `<29>Nov 28 07:56:04 uwsgi: `.
fn head(syslog: &SyslogEngine, time: &LocalTime) -> String {
    format!(
        "<{}>{} {}: ",
        syslog.priority,
        time.syslog(),
        syslog.identity
    )
}
