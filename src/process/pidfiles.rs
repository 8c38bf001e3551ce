//! The pidfiles of this process: written at the start, removed at the exit.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::sys::process::Pid;

use super::pidfile;

/// The absolute paths of the pidfiles that this process has written.
#[derive(Default)]
pub(crate) struct Pidfiles {
    paths: Vec<PathBuf>,
}

impl Pidfiles {
    /// Writes a pidfile with the id of this process. Does nothing if `path` is `None`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&mut self, path: Option<&str>) -> Result<()> {
        let Some(path) = path else { return Ok(()) };
        let path = std::path::absolute(path)?;
        pidfile::write(&path, Pid::own())?;
        self.paths.push(path);
        Ok(())
    }

    /// Writes all pidfiles again, with the id of this process.
    ///
    /// # Errors
    /// When a file cannot be written; the files after it are not written then.
    pub(crate) fn rewrite(&self) -> Result<()> {
        for path in &self.paths {
            pidfile::write(path, Pid::own())?;
        }
        Ok(())
    }

    /// Removes the pidfiles that still name this process; failures are logged.
    pub(crate) fn remove(&mut self) {
        for path in self.paths.drain(..) {
            if let Err(error) = pidfile::remove(&path, Pid::own()) {
                log_failure(&path, &error);
            }
        }
    }
}

fn log_failure(path: &Path, error: &io::Error) {
    let path = path.display();
    match error.kind() {
        // expected if root owns the directory and this process has changed to another user
        io::ErrorKind::PermissionDenied => tracing::info!("pidfile {path} not removed: {error}"),
        _ => tracing::warn!("pidfile {path} not removed: {error}"),
    }
}
