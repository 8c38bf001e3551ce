//! Event source: the log of the instance. The master rotates the log file by its size, opens it again after it was
//! renamed, and raises the alarms of its lines (`log-alarm`).
//!
//! Without loggers every process writes to the file. After a rotation the master passes the new file to the zygotes and
//! the workers. Until a process has received the new file, it writes to the renamed one, so that no line is lost. With
//! loggers the log thread owns the files.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::log;
use crate::log::thread::LineAlarm;
use crate::process::log_files;
use crate::sys::stdio;

use super::event_source::{Descriptor, EventSource, Token};
use super::master::Master;

/// Time between two checks of the log file's size, as in uWSGI.
const INTERVAL: Duration = Duration::from_secs(1);
/// Time from a failed rotation to the next attempt.
const RETRY: Duration = Duration::from_secs(60);

pub(super) struct Source;

impl EventSource for Source {
    fn deadline(&self, master: &Master, _now: Instant) -> Option<Instant> {
        master.max_log_size().map(|_| master.log_check)
    }

    fn descriptors<'a>(&self, master: &'a Master) -> Vec<Descriptor<'a>> {
        let queue = master.line_alarms.iter();
        queue.map(|queue| queue.as_fd().into()).collect()
    }

    fn ready(&self, master: &mut Master, _tokens: &[Token], now: Instant) -> io::Result<()> {
        if let Some(queue) = &master.line_alarms {
            for LineAlarm { names, message } in queue.take() {
                master.services.raise(&names, &message, now);
            }
        }
        Ok(())
    }

    fn tick(&self, master: &mut Master, now: Instant) {
        if let Some(max) = master.max_log_size()
            && now >= master.log_check
        {
            master.log_check = now + INTERVAL;
            if stdio::stderr_size().is_some_and(|size| size > max) {
                master.rotate_log(now);
            }
        }
    }
}

impl Master {
    /// The size in bytes above which the master rotates the log. `None` if no maximum is set, if the instance has no
    /// log file, or if the log thread rotates the log.
    fn max_log_size(&self) -> Option<u64> {
        let max = log_files::max_size(self.instance.config())?;
        (self.instance.resources().log.is_some() && !log::thread::is_running()).then_some(max)
    }

    /// Renames the log file to a backup, and opens a new file for all processes. With loggers the log thread does this.
    /// A failure is logged, and delays the next attempt.
    pub(super) fn rotate_log(&mut self, now: Instant) {
        if log::thread::is_running() {
            return log::thread::rotate();
        }
        let Some(path) = self.instance.resources().log.clone() else {
            return self.warn_without_file("rotated");
        };
        let size = stdio::stderr_size().unwrap_or_default();
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = since.map_or(0, |since| since.as_secs());
        let backup = log_files::backup(self.instance.config());
        match backup.take(&path, seconds) {
            Ok(backup) => {
                self.open_log(&path);
                tracing::info!(
                    "the log {} had {size} bytes and was moved to {}",
                    path.display(),
                    backup.display()
                );
            }
            Err(error) => {
                self.log_check = now + RETRY;
                tracing::error!(
                    "the log {} has {size} bytes and cannot be rotated: {error}",
                    path.display()
                );
            }
        }
    }

    /// Opens the log files again after another program has renamed them. With loggers the log thread does this.
    pub(super) fn reopen_log(&mut self) {
        if log::thread::is_running() {
            log::thread::reopen();
            return tracing::info!("the log files were reopened");
        }
        let Some(path) = self.instance.resources().log.clone() else {
            return self.warn_without_file("reopened");
        };
        if self.open_log(&path) {
            tracing::info!("the log {} was reopened", path.display());
        }
    }

    fn warn_without_file(&self, what: &str) {
        tracing::warn!(
            "the log cannot be {what}: it is not a file of this instance (logto, logto2, daemonize)"
        );
    }

    /// Opens the log file at `path` for all processes of the instance. Logs an error and returns `false` if the file
    /// cannot be opened; the processes then continue to write to the old file.
    fn open_log(&self, path: &Path) -> bool {
        let opened = log_files::ownership(self.instance.config()).and_then(|ownership| {
            let log = ownership.open(path)?;
            stdio::write_output_to(&log)?;
            Ok(log)
        });
        match opened {
            Ok(log) => {
                for generation in &self.generations {
                    generation.redirect_log(log.as_fd());
                }
                true
            }
            Err(error) => {
                tracing::error!("the log {} cannot be opened: {error:#}", path.display());
                false
            }
        }
    }
}
