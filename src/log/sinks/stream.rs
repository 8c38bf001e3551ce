//! `stdio`, `fd` and the input of `pipe`: a descriptor whose reader may be slow. A bounded buffer holds the bytes that
//! the reader has not accepted.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::log::environment::environment;
use crate::sys::{poll, stdio};

use super::priority;
use super::sink::{Drops, Sink};

/// Maximum bytes that wait for the reader; further events are dropped.
const MAX_WAITING: usize = 1 << 20;

pub(super) struct StreamSink {
    name: String,
    fd: OwnedFd,
    waiting: VecDeque<u8>,
    /// Whether the descriptor is a stream of the systemd journal, so that each line begins with a priority.
    is_journal: bool,
    /// Whether a write has failed, usually because the reader is gone. After a failure, no write is tried again.
    pub(super) is_broken: bool,
    drops: Drops,
}

impl StreamSink {
    pub(super) fn new(name: String, fd: OwnedFd) -> Self {
        Self {
            name,
            fd,
            waiting: VecDeque::new(),
            is_journal: false,
            is_broken: false,
            drops: Drops::default(),
        }
    }

    /// Creates the sink for the default log descriptor.
    pub(super) fn of_log(fd: OwnedFd) -> Self {
        let is_journal = environment().is_journal_stream(stdio::identity(fd.as_fd()));
        Self {
            is_journal,
            ..Self::new("the log".to_owned(), fd)
        }
    }

    /// Whether bytes wait for the reader.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl Sink for StreamSink {
    fn write(&mut self, event: &[u8]) {
        if self.is_broken {
            return self.drops.add(&self.name, "its reader is gone");
        }
        if self.waiting.len() + event.len() > MAX_WAITING {
            return self.drops.add(&self.name, "its reader is slow or stopped");
        }
        match self.is_journal {
            true => self.waiting.extend(priority::prefixed(event)),
            false => self.waiting.extend(event),
        }
    }

    /// Writes in pieces of at most `PIPE_BUF` bytes. If poll(2) reports that a pipe is writable, a write of this size
    /// does not wait.
    fn flush(&mut self) {
        while !self.waiting.is_empty() && !self.is_broken {
            if !poll::writable(self.fd.as_fd(), Duration::ZERO) {
                return;
            }
            let (piece, _) = self.waiting.as_slices();
            let piece = piece.get(..libc::PIPE_BUF).unwrap_or(piece);
            match stdio::write_to(self.fd.as_fd(), piece) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.is_broken = true,
            }
        }
        if !self.is_broken && self.waiting.len() < MAX_WAITING / 2 {
            self.drops.end(&self.name);
        }
    }

    fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        (self.is_waiting() && !self.is_broken).then(|| self.fd.as_fd())
    }
}
