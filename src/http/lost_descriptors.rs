//! Ends a worker whose descriptors the application has closed.

use std::io;

use crate::exit;
use crate::sys::thread;

/// Ends the process, because a system call has failed with `error`: its descriptor is closed, or belongs to another
/// file. The process can neither serve nor receive messages of its master. The master replaces the process.
#[cold]
pub(super) fn end_process(error: &io::Error) -> ! {
    tracing::error!(
        "the application has closed descriptors of its worker ({error}), so this process ends: os.closerange and libraries that turn a process into a daemon do so; call them in a child process only"
    );
    thread::exit_now(exit::FAILED)
}
