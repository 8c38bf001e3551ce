//! The interface of the log thread's sinks.

use std::io;
use std::os::fd::BorrowedFd;

/// A destination of lines. No call waits for a peer: what it does not take at once is kept in a bounded buffer or dropped.
pub(in crate::log) trait Sink: Send {
    /// Takes one event: a line, or the lines of one write. It may be kept until [`Sink::flush`].
    fn write(&mut self, event: &[u8]);

    /// Passes on what was kept.
    fn flush(&mut self) {}

    /// The descriptor that [`Sink::flush`] waits for, if it has more to write.
    fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Opens the file of this path again.
    ///
    /// # Errors
    /// Those of open(2); the sink continues with the old file.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Rotates the file, whatever its size.
    fn rotate(&mut self) {}
}

/// Counts what a sink drops, and reports it: the first time at once, the number when the sink works again.
#[derive(Debug, Default)]
pub(super) struct Drops {
    count: u64,
}

impl Drops {
    /// Counts one event that `sink` has dropped for this reason.
    pub(super) fn add(&mut self, sink: &str, reason: impl std::fmt::Display) {
        self.count += 1;
        if self.count == 1 {
            tracing::error!("{sink}: lines of the log are dropped: {reason}");
        }
    }

    /// The sink works again.
    pub(super) fn end(&mut self, sink: &str) {
        if self.count > 0 {
            let count = std::mem::take(&mut self.count);
            tracing::warn!("{sink}: {count} lines of the log were dropped");
        }
    }
}
