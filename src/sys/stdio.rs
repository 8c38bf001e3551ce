//! The standard descriptors: where the log goes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd;

use super::poll;

/// What descriptor 2 is: not known yet, a file whose writes never wait for anybody, or something that is read.
static KIND: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const FILE: u8 = 1;
const READ_BY_SOMEBODY: u8 = 2;

/// Writes that were dropped, one after the other, because nobody reads what was written before.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// A reader that falls behind is waited for so long, once.
const PATIENCE: Duration = Duration::from_millis(100);

/// Writes to descriptor 2 in one `write(2)`, a pipe in pieces that it takes whole. What cannot be written is dropped, and
/// how much it was is said later: a full pipe or a gone reader of the log must not hold or end a server.
pub fn write_stderr(bytes: &[u8]) {
    if !is_read_by_somebody() {
        return write_once(bytes);
    }
    for piece in bytes.chunks(libc::PIPE_BUF) {
        let dropped = DROPPED.load(Relaxed);
        let patience = if dropped == 0 {
            PATIENCE
        } else {
            Duration::ZERO
        };
        if !poll::writable(io::stderr().as_fd(), patience) {
            DROPPED.fetch_add(1, Relaxed);
            return;
        }
        if dropped > 0 && DROPPED.swap(0, Relaxed) > 0 {
            write_once(
                format!("({dropped} lines of the log were dropped, because nobody read it)\n")
                    .as_bytes(),
            );
        }
        write_once(piece);
    }
}

fn write_once(bytes: &[u8]) {
    while let Err(Errno::EINTR) = unistd::write(io::stderr(), bytes) {}
}

/// Another descriptor for what descriptor 2 writes to.
pub fn stderr_again() -> io::Result<OwnedFd> {
    io::stderr().as_fd().try_clone_to_owned()
}

/// Whether descriptor 2 leads to another process, which may be slow.
fn is_read_by_somebody() -> bool {
    let known = KIND.load(Relaxed);
    if known != UNKNOWN {
        return known == READ_BY_SOMEBODY;
    }
    let kind = nix::sys::stat::fstat(io::stderr())
        .map(|stat| stat.st_mode & libc::S_IFMT)
        .unwrap_or_default();
    let read = [libc::S_IFIFO, libc::S_IFSOCK].contains(&kind);
    KIND.store(if read { READ_BY_SOMEBODY } else { FILE }, Relaxed);
    read
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
    KIND.store(UNKNOWN, Relaxed);
    Ok(())
}

/// Does so with the log that came with a message.
pub fn write_output_to_first(logs: Vec<OwnedFd>) {
    if let Some(log) = logs.into_iter().next()
        && let Err(error) = write_output_to(&File::from(log))
    {
        tracing::error!("the log cannot be written to its new file: {error}");
    }
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
