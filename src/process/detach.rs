//! Becoming a daemon: `daemonize`, `daemonize2`.

use std::path::Path;

use anyhow::Result;

use crate::config::Config;
use crate::sys::daemon;

use super::log_files;

/// Detaches this process from the terminal, if configured. Returns the process that waits for the result of the start
/// (`daemonize2`).
///
/// # Errors
/// Those of [`daemon::daemonize`] and [`log_files::prepare`].
pub(crate) fn detach(config: &Config) -> Result<Option<daemon::Parent>> {
    if let Some(log) = config.daemonize2() {
        let parent = daemon::detach_later(Path::new(log))?;
        log_files::prepare(config)?;
        return Ok(Some(parent));
    }
    if let Some(log) = config.daemonize() {
        daemon::daemonize(Path::new(log))?;
        log_files::prepare(config)?;
    }
    Ok(None)
}
