//! `master-fifo`: the commands, one byte each, and the FIFOs from which the master reads them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use crate::sys::fifo::Fifo;

use super::signals::ReloadMode;

/// A command that is written to the FIFO as one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FifoCommand {
    /// Read the FIFO with this index from now on, instead of the current FIFO.
    SwitchFifo(usize),
    Reload(ReloadMode),
    /// Finish the requests in flight and stop.
    Stop,
    /// Stop without waiting for the requests in flight.
    StopNow,
    /// Write the state to the log.
    Report,
    /// Write the pidfiles again.
    Pidfiles,
    /// Add this number to the number of workers.
    Scale(i32),
    /// Run no workers until the next connection.
    Cheap,
    /// Pause the instance, or end the pause.
    Pause,
    /// Reopen the log file.
    ReopenLog,
    /// A command of uWSGI that is not supported; the text says what to do instead.
    Unsupported(&'static str),
    Unknown,
    /// White space, such as the newline that `echo` writes.
    Ignored,
}

/// Returns the command for a byte. The letters are the same as in uWSGI.
pub(super) fn command(byte: u8) -> FifoCommand {
    match byte {
        b'0'..=b'9' => FifoCommand::SwitchFifo(usize::from(byte - b'0')),
        // ruwsgi needs no chain reload (c) and no worker reload (w) of its own, because its graceful reload never
        // interrupts service
        b'r' | b'c' | b'w' => FifoCommand::Reload(ReloadMode::Graceful),
        b'R' | b'W' => FifoCommand::Reload(ReloadMode::Brutal),
        b'q' => FifoCommand::Stop,
        b'Q' => FifoCommand::StopNow,
        b's' => FifoCommand::Report,
        b'P' => FifoCommand::Pidfiles,
        b'+' => FifoCommand::Scale(1),
        b'-' => FifoCommand::Scale(-1),
        b'C' => FifoCommand::Cheap,
        b'p' => FifoCommand::Pause,
        b'l' => FifoCommand::ReopenLog,
        b'L' => FifoCommand::Unsupported("rename the log's file and write l, as logrotate does"),
        b'E' => FifoCommand::Unsupported("send SIGWINCH to the emperor"),
        b'B' => FifoCommand::Unsupported("the broodlord mode of uWSGI does not exist"),
        b'S' => FifoCommand::Unsupported("there is no subscription system"),
        b'f' => FifoCommand::Unsupported("reload the instance instead"),
        byte if byte.is_ascii_whitespace() => FifoCommand::Ignored,
        _ => FifoCommand::Unknown,
    }
}

/// The FIFOs of an instance. The master reads one at a time, as in uWSGI.
#[derive(Debug)]
pub(super) struct Fifos {
    paths: Vec<PathBuf>,
    open: Fifo,
}

impl Fifos {
    /// Creates the first FIFO; `None` if no FIFO is configured.
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

    /// Creates the FIFO with this index, reads it instead of the current FIFO, and removes the file of the current
    /// FIFO. Returns the path of the new FIFO.
    ///
    /// # Errors
    /// A log message, if no FIFO has this index or the FIFO cannot be created. The current FIFO stays in use.
    pub(super) fn switch(&mut self, number: usize) -> Result<PathBuf, String> {
        let path = self.paths.get(number).ok_or_else(|| {
            let last = self.paths.len() - 1;
            format!("master-fifo: there is no fifo {number}; the last one is {last}")
        })?;
        let next = Fifo::make(path)
            .map_err(|error| format!("master-fifo: cannot create {}: {error}", path.display()))?;
        // this fails if both FIFOs have the same path, because the new file has replaced the old one
        let _ = self.open.remove();
        self.open = next;
        Ok(path.clone())
    }

    /// Reads the bytes written since the last call, without waiting.
    pub(super) fn take(&self) -> Vec<u8> {
        self.open.take()
    }

    /// Removes the file of the current FIFO. A failure is logged.
    pub(super) fn remove(&self) {
        if let Err(error) = self.open.remove() {
            let path = self.open.path().display();
            tracing::warn!("master-fifo: cannot remove {path}: {error}");
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
    fn every_letter_of_uwsgi_is_known() {
        for byte in b"0123456789+-BcCEflLpPqQrRsSwW" {
            assert_ne!(command(*byte), FifoCommand::Unknown, "{}", *byte as char);
        }
        assert_eq!(command(b'r'), FifoCommand::Reload(ReloadMode::Graceful));
        assert_eq!(command(b'\n'), FifoCommand::Ignored);
        assert_eq!(command(b'z'), FifoCommand::Unknown);
        assert_eq!(command(0xff), FifoCommand::Unknown);
    }
}
