//! Locked files: flock(2).

use std::fs::File;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::stat::Mode;

use super::trusted_path;

/// A lock on a file. It ends when the value is dropped, or when this process and all its forks have ended.
#[derive(Debug)]
pub struct FileLock {
    _file: Flock<File>,
}

impl FileLock {
    /// Locks a file, which is created if it does not exist. If `waits` is true, waits until no other process holds the
    /// lock.
    ///
    /// # Errors
    /// Those of [`trusted_path::open`] and flock(2); `WouldBlock` if another process holds the lock and `waits` is false.
    pub fn take(path: &Path, waits: bool) -> io::Result<Self> {
        let flags = OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_CREAT;
        let mode = Mode::from_bits_truncate(0o666);
        let file = trusted_path::open(path, flags, mode)?;
        let how = match waits {
            true => FlockArg::LockExclusive,
            false => FlockArg::LockExclusiveNonblock,
        };
        match Flock::lock(file, how) {
            Ok(file) => Ok(Self { _file: file }),
            Err((_, Errno::EWOULDBLOCK)) => Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "another process holds the lock; stop it first",
            )),
            Err((_, errno)) => Err(errno.into()),
        }
    }
}
