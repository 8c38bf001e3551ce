//! Where the lines of the log go: one file per kind of sink.
//!
//! All lines pass through [`write`]: events, blocks, relayed output and request lines. A new sink is a file here, and its
//! call in [`write`].

mod stderr;

/// Writes finished lines, each with its line feed, to the sinks of this process.
#[inline]
pub(super) fn write(lines: &[u8]) {
    stderr::write(lines);
}
