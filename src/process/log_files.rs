//! Opens log files, sets their owner and permissions, and reads the options for their rotation.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result, anyhow};

use crate::config::{Config, FileOwner};
use crate::sys::log_file::{Backup, Ownership};
use crate::sys::{path_error, stdio, user};

/// Opens the log file at `path` and makes it the standard output and standard error of this process. Does nothing if
/// `path` is `None`.
///
/// # Errors
/// When the file cannot be opened or truncated, or its owner or permissions cannot be set.
pub(crate) fn redirect(config: &Config, path: Option<&str>) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let opened = ownership(config)?
        .open(Path::new(path))
        .and_then(|file| truncate(config, file))
        .and_then(stdio::write_output_to);
    opened.map_err(|error| {
        let reason = path_error::reason(Path::new(path), &error);
        anyhow!("the log {path} cannot be written: {reason}")
    })
}

/// Sets the owner and the permissions of the log file that `daemonize` has made the output of this process. Empties the
/// file if `log-truncate` is set.
///
/// # Errors
/// When the owner or permissions cannot be set, or the file cannot be truncated.
pub(crate) fn prepare(config: &Config) -> Result<()> {
    let ownership = ownership(config)?;
    if ownership != Ownership::default() || config.log_truncate() {
        let file = File::from(stdio::stderr_again()?);
        ownership
            .apply(file.as_fd())
            .context("the log cannot get its owner and permissions")?;
        truncate(config, file)?;
    }
    Ok(())
}

/// Empties the file if `log-truncate` is set and the file is a regular file.
fn truncate(config: &Config, file: File) -> io::Result<File> {
    if config.log_truncate() && file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    Ok(file)
}

/// Reads the owner and permissions of log files from the configuration (`logfile-chown`, `logfile-chmod`).
///
/// # Errors
/// When the configured user or group does not exist.
pub(crate) fn ownership(config: &Config) -> Result<Ownership> {
    let (user, group) = match config.logfile_chown() {
        Some(FileOwner::OfInstance) => (config.uid(), config.gid()),
        Some(FileOwner::Named(owner)) => (owner.user.as_deref(), owner.group.as_deref()),
        Some(FileOwner::Unchanged) | None => (None, None),
    };
    let user = user.map(user::find_user).transpose();
    let group = group.map(user::find_group).transpose();
    Ok(Ownership {
        uid: user.context("logfile-chown")?.map(|user| user.uid),
        gid: group.context("logfile-chown")?,
        mode: config.logfile_chmod(),
    })
}

/// The size at which log files are rotated (`log-maxsize`), bytes; `None` if they are not rotated by size.
pub(crate) fn max_size(config: &Config) -> Option<u64> {
    config.log_maxsize().filter(|size| *size > 0)
}

/// The name that the full main log gets at rotation.
pub(crate) fn backup(config: &Config) -> Backup {
    let named = config
        .log_backupname()
        .map(|name| Backup::Named(name.into()));
    named.unwrap_or_else(|| backup_of_others(config))
}

/// The name that the full file of a logger gets at rotation.
pub(crate) fn backup_of_others(config: &Config) -> Backup {
    match config.log_backups() {
        Some(count) => Backup::Numbered(count),
        None => Backup::Dated,
    }
}
