//! Makes the process a daemon: `daemonize`, `daemonize2`.

use std::path::Path;

use anyhow::Result;

use crate::config::Config;
use crate::sys::daemon;

use super::log_files;

/// Makes this process a daemon if `daemonize` or `daemonize2` is configured; otherwise does nothing and returns `None`.
/// If a daemon is made, this function returns in the daemon only. With `daemonize2` the original process waits until the
/// daemon reports the result of its start through the returned [`daemon::Parent`].
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
