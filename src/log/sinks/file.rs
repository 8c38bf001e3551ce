//! `file`: a log file that the log thread writes and rotates. No other thread or process writes to the file.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::sys::log_file::{Backup, Ownership};

use super::sink::{Drops, Sink};

/// Size of the buffer in bytes. A full buffer is written to the file at once. Otherwise the next flush writes the
/// buffer.
const BUFFER: usize = 64 << 10;
/// Delay between a failed rotation and the next attempt.
const RETRY: Duration = Duration::from_secs(10);

pub(super) struct FileSink {
    path: PathBuf,
    name: String,
    ownership: Ownership,
    max_size: Option<u64>,
    backup: Backup,
    file: File,
    size: u64,
    buffer: Vec<u8>,
    /// Number of events in `buffer`.
    events: u64,
    /// Whether the last write was incomplete, so that the file ends within a line. The next write then begins with a
    /// line feed.
    torn: bool,
    drops: Drops,
    /// Earliest time of the next rotation; set after a failed rotation.
    retry_at: Option<Instant>,
}

/// The rotation of a file: the size in bytes above which it is rotated, and the name for the full file.
pub(super) type Rotation = (Option<u64>, Backup);

impl FileSink {
    /// Opens the file, or creates it with the owner and mode of `ownership`.
    ///
    /// # Errors
    /// Those of [`Ownership::open`].
    pub(super) fn open(
        path: PathBuf,
        (max_size, backup): Rotation,
        ownership: Ownership,
    ) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let file = ownership.open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            name: format!("log file {}", path.display()),
            path,
            ownership,
            max_size: max_size.filter(|size| *size > 0),
            backup,
            file,
            size,
            buffer: Vec::new(),
            events: 0,
            torn: false,
            drops: Drops::default(),
            retry_at: None,
        })
    }

    fn write_out(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let mut bytes = std::mem::take(&mut self.buffer);
        if self.torn {
            bytes.insert(0, b'\n');
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => break,
                Ok(written) => {
                    self.size += written as u64;
                    rest = &rest[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    for _ in 0..self.events {
                        self.drops.add(&self.name, &error);
                    }
                    break;
                }
            }
        }
        self.torn = match rest.len() {
            0 => false,
            // nothing was written, so the end of the file has not changed
            left if left == bytes.len() => self.torn,
            _ => true,
        };
        if rest.is_empty() {
            self.drops.end(&self.name);
        }
        self.events = 0;
        bytes.clear();
        self.buffer = bytes;
    }

    fn move_away(&mut self) {
        let now = Instant::now();
        if self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = since.map_or(0, |since| since.as_secs());
        let rotated = self.backup.take(&self.path, seconds).and_then(|backup| {
            self.file = self.ownership.open(&self.path)?;
            Ok(backup)
        });
        match rotated {
            Ok(backup) => {
                tracing::info!(
                    "{} had {} bytes and was moved to {}",
                    self.name,
                    self.size,
                    backup.display()
                );
                self.size = 0;
                self.torn = false;
                self.retry_at = None;
            }
            Err(error) => {
                tracing::error!("{} cannot be rotated and grows: {error}", self.name);
                self.retry_at = Some(now + RETRY);
            }
        }
    }
}

impl Sink for FileSink {
    fn write(&mut self, event: &[u8]) {
        self.buffer.extend_from_slice(event);
        self.events += 1;
        let size = self.size + self.buffer.len() as u64;
        let is_full = self.max_size.is_some_and(|max| size > max);
        if is_full || self.buffer.len() >= BUFFER {
            self.write_out();
        }
        if self.max_size.is_some_and(|max| self.size > max) {
            self.move_away();
        }
    }

    fn flush(&mut self) {
        self.write_out();
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.write_out();
        self.file = self.ownership.open(&self.path)?;
        self.size = self.file.metadata()?.len();
        self.torn = false;
        Ok(())
    }

    fn rotate(&mut self) {
        self.write_out();
        self.retry_at = None;
        self.move_away();
    }
}
