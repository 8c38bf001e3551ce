//! The clean-up at the emperor's exit: removes its pidfiles, and reports to the process that has started it.

use crate::process::Pidfiles;
use crate::sys::daemon;

/// The resources that the emperor releases at its exit.
#[derive(Default)]
pub(super) struct Cleanup {
    pub(super) pidfiles: Pidfiles,
    /// The process that has started the emperor and waits until the start succeeds or fails (`daemonize2`).
    pub(super) parent: Option<daemon::Parent>,
}

impl Cleanup {
    /// Reports a successful start to the process that waits for it.
    pub(super) fn started(&mut self) {
        if let Some(parent) = self.parent.take()
            && let Err(error) = parent.ready()
        {
            tracing::warn!(
                "the process that started the emperor cannot be told that it runs: {error}"
            );
        }
    }

    /// Removes the pidfiles. If a process still waits for the start, sends the reason of the failure to it.
    pub(super) fn run(&mut self, status: i32, reason: &str) {
        self.pidfiles.remove();
        if let Some(parent) = self.parent.take() {
            parent.failed(u8::try_from(status).unwrap_or(1), reason);
        }
    }
}
