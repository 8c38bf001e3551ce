//! The terminal that this process was started on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};

/// Whether this process is in the foreground of a terminal: Ctrl-C there reaches it.
pub fn is_foreground() -> bool {
    let (input, error) = (io::stdin(), io::stderr());
    owns(input.as_fd()) || owns(error.as_fd())
}

fn owns(fd: BorrowedFd<'_>) -> bool {
    tcgetpgrp(fd) == Ok(getpgrp())
}

/// The settings of the terminal that is the standard input.
#[derive(Debug)]
pub struct Settings(Termios);

impl Settings {
    /// Reads them; `None` if the standard input is no terminal in whose foreground this process is.
    pub fn read() -> Option<Self> {
        let input = io::stdin();
        let settings = owns(input.as_fd()).then(|| tcgetattr(&input).ok())?;
        settings.map(Self)
    }

    /// Sets them again. A line editor that was killed has left others.
    pub fn restore(&self) {
        let input = io::stdin();
        // from the background it would stop this process
        if owns(input.as_fd()) {
            // an error means that the terminal is gone
            let _ = tcsetattr(&input, SetArg::TCSANOW, &self.0);
        }
    }
}
