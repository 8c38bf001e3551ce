//! What the emperor undoes when it exits: its pidfiles, and the report to the process that has started it.

use std::path::PathBuf;

use anyhow::Result;

use crate::process::pidfile;
use crate::sys::daemon;
use crate::sys::process::Pid;

/// What remains to be done when the emperor exits.
#[derive(Default)]
pub(super) struct Cleanup {
    pidfiles: Vec<PathBuf>,
    /// The process that waits for the end of the start (`daemonize2`).
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

    /// Removes the pidfiles. A process that still waits for the start gets the reason of the failure.
    pub(super) fn run(&mut self, status: i32, reason: &str) {
        for path in self.pidfiles.drain(..) {
            if let Err(error) = pidfile::remove(&path, Pid::own()) {
                // usual where root owns the directory and the emperor has changed to another user
                tracing::info!("pidfile {} not removed: {error}", path.display());
            }
        }
        if let Some(parent) = self.parent.take() {
            parent.failed(u8::try_from(status).unwrap_or(1), reason);
        }
    }

    /// Writes a pidfile, to be removed at the end.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write_pidfile(&mut self, path: Option<&str>) -> Result<()> {
        let Some(path) = path else { return Ok(()) };
        let path = std::path::absolute(path)?;
        pidfile::write(&path, Pid::own())?;
        self.pidfiles.push(path);
        Ok(())
    }
}
