//! The standard descriptors: where the log goes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd;

/// Writes to descriptor 2 in one `write(2)`. What cannot be written is dropped: a full pipe or a gone
/// reader of the log must not hold or end a server.
pub fn write_stderr(bytes: &[u8]) {
    while let Err(Errno::EINTR) = unistd::write(io::stderr(), bytes) {}
}

/// Another descriptor for what descriptor 2 writes to.
pub fn stderr_again() -> io::Result<OwnedFd> {
    io::stderr().as_fd().try_clone_to_owned()
}

/// Device and inode of descriptor 2.
pub fn stderr_identity() -> Option<(u64, u64)> {
    let stat = nix::sys::stat::fstat(io::stderr()).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// Opens a log for appending; a new one gets mode 0640 (less the umask).
pub fn open_log(path: &Path) -> io::Result<File> {
    // O_NOCTTY: a log that is a terminal must not become the controlling one of a daemon.
    // O_NONBLOCK for the open alone: a FIFO nobody reads must be an error, not a wait.
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
        .open(path)?;
    super::socket::set_nonblocking(&file, false)?;
    Ok(file)
}

/// Makes an open log the standard output and error of this process.
pub fn write_output_to(log: &File) -> io::Result<()> {
    unistd::dup2_stdout(log)?;
    unistd::dup2_stderr(log)?;
    Ok(())
}

/// Opens the log at `path` (see [`open_log`]) and makes it the standard output and error. Nothing is
/// changed when it cannot be opened.
pub fn redirect_output(path: &Path) -> io::Result<()> {
    write_output_to(&open_log(path)?)
}

/// Makes `/dev/null` the standard input.
pub fn close_input() -> io::Result<()> {
    unistd::dup2_stdin(File::open("/dev/null")?)?;
    Ok(())
}
