//! Log files from the configuration: how they are opened, and when and how they are rotated.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result, anyhow};

use crate::config::{Config, FileOwner};
use crate::sys::log_file::{Backup, Ownership};
use crate::sys::{path_error, stdio, user};

/// Opens a log file, if one is given, and makes it the output of this process.
///
/// # Errors
/// When the file cannot be opened, or not get its owner and permissions.
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

/// Prepares the log file that is the output of this process already (`daemonize`).
///
/// # Errors
/// When it cannot get its owner and permissions.
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

/// Empties the file if it is configured so. A file that is no regular one stays as it is.
fn truncate(config: &Config, file: File) -> io::Result<File> {
    if config.log_truncate() && file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    Ok(file)
}

/// Owner and permissions of log files.
///
/// # Errors
/// When there is no such user or group.
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

/// The size at which log files are rotated.
pub(crate) fn max_size(config: &Config) -> Option<u64> {
    config.log_maxsize().filter(|size| *size > 0)
}

/// Where the full main log goes.
pub(crate) fn backup(config: &Config) -> Backup {
    let named = config
        .log_backupname()
        .map(|name| Backup::Named(name.into()));
    named.unwrap_or_else(|| backup_of_others(config))
}

/// Where the full files of loggers go.
pub(crate) fn backup_of_others(config: &Config) -> Backup {
    match config.log_backups() {
        Some(count) => Backup::Numbered(count),
        None => Backup::Dated,
    }
}
