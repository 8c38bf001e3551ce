//! Becoming a daemon, and the log file of a process: `daemonize`, `daemonize2`, `logto`, `logto2`.

use std::path::Path;

use anyhow::{Context, Result};

use crate::config::Config;
use crate::sys::{daemon, stdio};

/// Detaches this process from the terminal, if configured. Returns the process that waits for the result of the start
/// (`daemonize2`).
///
/// # Errors
/// Those of [`daemon::daemonize`].
pub(crate) fn detach(config: &Config) -> Result<Option<daemon::Parent>> {
    if let Some(log) = config.daemonize2() {
        return Ok(Some(daemon::detach_later(Path::new(log))?));
    }
    if let Some(log) = config.daemonize() {
        daemon::daemonize(Path::new(log))?;
    }
    Ok(None)
}

/// Makes a log file the standard output and error of this process.
///
/// # Errors
/// When it cannot be opened; nothing is changed then.
pub(crate) fn redirect_log(log: &str) -> Result<()> {
    stdio::redirect_output(Path::new(log))
        .with_context(|| format!("the log {log} cannot be written"))
}
