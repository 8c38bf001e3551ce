//! `master-fifo`: what the letters written to it ask for, and which of several fifos is read.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use crate::sys::fifo::Fifo;

use super::signals::ReloadMode;

/// What a letter asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Letter {
    /// Read the fifo of this number from now on.
    Fifo(usize),
    Reload(ReloadMode),
    /// Finish the requests in flight and stop.
    Stop,
    /// Stop at once.
    StopNow,
    /// Write the state to the log.
    Report,
    /// Write the pidfiles anew.
    Pidfiles,
    /// So many workers more.
    More(i32),
    /// No workers until the next connection.
    Cheap,
    /// Accept no more until the same letter comes again.
    Pause,
    /// Open the log's file anew.
    ReopenLog,
    /// uWSGI knows it, and it is not here; what to do instead.
    Absent(&'static str),
    Unknown,
    /// White space, as `echo` ends its lines.
    Nothing,
}

/// What a letter asks for, in uWSGI's alphabet.
pub(super) fn letter(byte: u8) -> Letter {
    match byte {
        b'0'..=b'9' => Letter::Fifo(usize::from(byte - b'0')),
        // a reload never stops service, and so it replaces worker after worker anyway
        b'r' | b'c' | b'w' => Letter::Reload(ReloadMode::Graceful),
        b'R' | b'W' => Letter::Reload(ReloadMode::Brutal),
        b'q' => Letter::Stop,
        b'Q' => Letter::StopNow,
        b's' => Letter::Report,
        b'P' => Letter::Pidfiles,
        b'+' => Letter::More(1),
        b'-' => Letter::More(-1),
        b'C' => Letter::Cheap,
        b'p' => Letter::Pause,
        b'l' => Letter::ReopenLog,
        b'L' => Letter::Absent("rename the log's file and write l, as logrotate does"),
        b'E' => Letter::Absent("send SIGWINCH to the emperor"),
        b'B' => Letter::Absent("there is no broodlord"),
        b'S' => Letter::Absent("instances do not announce themselves"),
        b'f' => Letter::Absent("reload the instance instead"),
        byte if byte.is_ascii_whitespace() => Letter::Nothing,
        _ => Letter::Unknown,
    }
}

/// The fifos of an instance: one is read at a time, as in uWSGI.
#[derive(Debug)]
pub(super) struct Fifos {
    paths: Vec<PathBuf>,
    open: Fifo,
}

impl Fifos {
    /// Makes the first one; `None` where none is configured.
    ///
    /// # Errors
    /// Those of [`Fifo::make`].
    pub(super) fn open(paths: Vec<PathBuf>) -> io::Result<Option<Self>> {
        let Some(first) = paths.first() else {
            return Ok(None);
        };
        let open = Fifo::make(first)?;
        Ok(Some(Self { paths, open }))
    }

    /// Makes and reads the fifo of this number instead; gives its path.
    ///
    /// # Errors
    /// A sentence; then the one that was read stays.
    pub(super) fn switch(&mut self, number: usize) -> Result<PathBuf, String> {
        let path = self.paths.get(number).ok_or_else(|| {
            let last = self.paths.len() - 1;
            format!("there is no master-fifo {number}: they are 0 to {last}")
        })?;
        let next = Fifo::make(path)
            .map_err(|error| format!("the fifo {} cannot be made: {error}", path.display()))?;
        // the same path has a new file now, and the old one is nobody's
        let _ = self.open.remove();
        self.open = next;
        Ok(path.clone())
    }

    /// What has been written.
    pub(super) fn take(&self) -> Vec<u8> {
        self.open.take()
    }

    /// Removes the file.
    pub(super) fn remove(&self) {
        if let Err(error) = self.open.remove() {
            let path = self.open.path().display();
            tracing::warn!("the fifo {path} cannot be removed: {error}");
        }
    }
}

impl AsFd for Fifos {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.open.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_of_uwsgis_is_known() {
        for byte in b"0123456789+-BcCEflLpPqQrRsSwW" {
            assert_ne!(letter(*byte), Letter::Unknown, "{}", *byte as char);
        }
        assert_eq!(letter(b'r'), Letter::Reload(ReloadMode::Graceful));
        assert_eq!(letter(b'\n'), Letter::Nothing);
        assert_eq!(letter(b'z'), Letter::Unknown);
        assert_eq!(letter(0xff), Letter::Unknown);
    }
}
