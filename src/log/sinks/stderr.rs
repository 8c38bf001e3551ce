//! Descriptor 2: the sink of a process without a log thread. `logto` and `daemonize` redirect it to a file.

use crate::sys::stdio;

/// Writes lines to descriptor 2, in one write(2). If descriptor 2 is a pipe, writes in pieces, waits a limited time
/// while the pipe is full, and then drops the lines; see [`stdio::write_stderr`].
#[inline]
pub(super) fn write(lines: &[u8]) {
    stdio::write_stderr(lines);
}
