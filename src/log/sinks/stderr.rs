//! Descriptor 2: the sink of every process. `logto` and `daemonize` make it a file.

use crate::sys::stdio;

/// Writes lines in one write(2); see [`stdio::write_stderr`] for a pipe that is full.
#[inline]
pub(super) fn write(lines: &[u8]) {
    stdio::write_stderr(lines);
}
