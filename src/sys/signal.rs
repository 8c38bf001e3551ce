//! Receives signals through a descriptor: signalfd(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};

pub use nix::sys::signal::Signal;

/// A set of blocked signals, and the descriptor from which they are read.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Blocks `signals` in this thread and opens a non-blocking descriptor for them.
    ///
    /// # Errors
    /// Those of sigprocmask(2) and signalfd(2).
    pub fn block(signals: &[Signal]) -> io::Result<Self> {
        let set: SigSet = signals.iter().copied().collect();
        set.thread_block()?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { fd })
    }

    /// Reads the next pending signal, without waiting; `None` when no signal is pending.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn take(&mut self) -> io::Result<Option<Signal>> {
        loop {
            match self.fd.read_signal() {
                Ok(None) => return Ok(None),
                Ok(Some(arrived)) => {
                    if let Ok(signal) = Signal::try_from(arrived.ssi_signo as i32) {
                        return Ok(Some(signal));
                    }
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
