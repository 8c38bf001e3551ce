//! Where the lines of the log go: one file per kind of sink.
//!
//! All lines of a process pass through [`write`]: events, blocks, relayed output and request lines. They go to descriptor 2,
//! or to the log thread of the master (`channel`), if one runs. The other files are the engines of that thread; see
//! `super::thread`.

pub(super) mod channel;
pub(super) mod datagram;
pub(super) mod file;
mod journal;
pub(super) mod open;
mod pipe;
mod priority;
pub(super) mod sink;
mod source;
mod stderr;
mod stream;
pub(super) mod syslog;

pub(super) use source::Source;

/// Writes finished lines, each with its line feed, to the sink of this process.
#[inline]
pub(super) fn write(source: Source, lines: &[u8]) {
    if !channel::send(source, lines) {
        stderr::write(lines);
    }
}
