//! The destinations of log lines. Each kind of sink has a file.
//!
//! All lines of a process pass through [`write`]: events, blocks, relayed output and request lines. If the log thread
//! of the master runs, [`write`] sends them to this thread (`channel`), otherwise to descriptor 2 (`stderr`). The other
//! files implement the sinks of the log thread; see `super::thread`.

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

/// Writes complete lines, each with its line feed, to the log thread or to descriptor 2. If the reader of the log is
/// slow, waits at most 100 ms, and then drops and counts the lines.
#[inline]
pub(super) fn write(source: Source, lines: &[u8]) {
    if !channel::send(source, lines) {
        stderr::write(lines);
    }
}
