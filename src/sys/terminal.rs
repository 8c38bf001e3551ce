//! The terminal on which this process was started.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};

/// Whether this process is in the foreground process group of a terminal, so that Ctrl-C in the terminal reaches it.
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
    /// Reads the settings; `None` if the standard input is no terminal, or if this process is not in its foreground.
    pub fn read() -> Option<Self> {
        let input = io::stdin();
        let settings = owns(input.as_fd()).then(|| tcgetattr(&input).ok())?;
        settings.map(Self)
    }

    /// Restores the settings. A child with a line editor changes them, and leaves them changed if it is killed.
    pub fn restore(&self) {
        let input = io::stdin();
        // if this process is in the background, tcsetattr would stop it (SIGTTOU)
        if owns(input.as_fd()) {
            // an error means that the terminal is gone
            let _ = tcsetattr(&input, SetArg::TCSANOW, &self.0);
        }
    }
}
