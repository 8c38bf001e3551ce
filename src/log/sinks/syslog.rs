//! `syslog` and `rsyslog`: messages of RFC 3164 as datagrams, to `/dev/log` or to an address.

use std::io;

use crate::log::settings::SyslogEngine;
use crate::sys::clock::LocalTime;

use super::datagram::Datagrams;
use super::sink::{Drops, Sink};

/// The socket of the machine's syslog daemon.
const LOCAL: &str = "/dev/log";

/// The maximum size of a message, and what happens with a longer one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packets {
    /// Bytes.
    pub(super) size: usize,
    /// The rest follows in further messages; otherwise it is cut.
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
    /// A sink for the daemon of this machine.
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

    /// A sink for a daemon at an address.
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

/// Priority, time and identity: `<29>Nov 28 07:56:04 uwsgi: `.
fn head(syslog: &SyslogEngine, time: &LocalTime) -> String {
    format!(
        "<{}>{} {}: ",
        syslog.priority,
        time.syslog(),
        syslog.identity
    )
}
