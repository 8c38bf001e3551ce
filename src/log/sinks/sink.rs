//! The interface of the log thread's sinks.

use std::io;
use std::os::fd::BorrowedFd;

/// A destination of log lines. No method waits for the peer. Bytes that the peer does not accept at once are kept in a
/// bounded buffer or dropped.
pub(in crate::log) trait Sink: Send {
    /// Writes one event: a line, or the lines of one write. The sink may buffer the event until [`Sink::flush`].
    fn write(&mut self, event: &[u8]);

    /// Writes buffered bytes until the peer accepts no more. Does not wait.
    fn flush(&mut self) {}

    /// Returns the descriptor that must become writable before [`Sink::flush`] can write more; `None` if nothing is
    /// buffered.
    fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Reopens the log file by its path, for example after an external rotation.
    ///
    /// # Errors
    /// Those of open(2); the sink continues with the old file.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Rotates the log file, whatever its size.
    fn rotate(&mut self) {}
}

/// Counts the events that a sink drops. The first drop is logged at once, with its reason; the number of drops is
/// logged when the sink works again.
#[derive(Debug, Default)]
pub(super) struct Drops {
    count: u64,
}

impl Drops {
    /// Counts one event that `sink` has dropped for `reason`. Logs an error for the first dropped event.
    pub(super) fn add(&mut self, sink: &str, reason: impl std::fmt::Display) {
        self.count += 1;
        if self.count == 1 {
            tracing::error!("{sink}: lines of the log are dropped: {reason}");
        }
    }

    /// Logs the number of dropped events, if any, and resets the count. Called when the sink works again.
    pub(super) fn end(&mut self, sink: &str) {
        if self.count > 0 {
            let count = std::mem::take(&mut self.count);
            tracing::warn!("{sink}: {count} lines of the log were dropped");
        }
    }
}
