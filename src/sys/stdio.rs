//! The standard descriptors 0 to 2. This process writes its log to descriptor 2.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd;

use super::{poll, trusted_path};

/// The kind of descriptor 2: `UNKNOWN` before the first check, `FILE` for a file or terminal, `PIPE` for a pipe or
/// socket. The reader of a pipe may be slow.
static KIND: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const FILE: u8 = 1;
const PIPE: u8 = 2;

/// Number of dropped writes (for a pipe) or dropped lines (for a file) since the last successful write.
static DROPPED: AtomicU64 = AtomicU64::new(0);
/// Whether the file ends within a line, because its last write was incomplete.
static TORN: AtomicBool = AtomicBool::new(false);

/// Maximum time that a write waits for a full pipe. After a dropped write, later writes do not wait until a write
/// succeeds again.
const PIPE_TIMEOUT: Duration = Duration::from_millis(100);

/// Writes to descriptor 2: to a file in one write(2), to a pipe in pieces of `PIPE_BUF` bytes, which the kernel writes
/// atomically. Waits up to 100 ms while the pipe is full.
///
/// A full disk, a full pipe, or a pipe without a reader must not block or end a server. Therefore bytes that cannot be
/// written are dropped. Their number is logged when bytes can be written again.
pub fn write_stderr(bytes: &[u8]) {
    if !is_pipe() {
        return write_to_file(bytes, |rest| unistd::write(io::stderr(), rest));
    }
    for piece in bytes.chunks(libc::PIPE_BUF) {
        let dropped = DROPPED.load(Relaxed);
        let timeout = if dropped == 0 {
            PIPE_TIMEOUT
        } else {
            Duration::ZERO
        };
        if !poll::writable(io::stderr().as_fd(), timeout) {
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

/// Writes lines with `write`, which has the result of write(2). Counts the lines that cannot be written.
fn write_to_file(lines: &[u8], mut write: impl FnMut(&[u8]) -> nix::Result<usize>) {
    let dropped = DROPPED.load(Relaxed);
    if dropped > 0 {
        let torn = if TORN.load(Relaxed) { "\n" } else { "" };
        let report = format!(
            "{torn}({dropped} lines of the log were dropped, because they could not be written)\n"
        );
        match write_all(report.as_bytes(), &mut write) {
            0 => DROPPED.store(0, Relaxed),
            _ => return count_dropped(lines),
        }
    }
    let left = write_all(lines, &mut write);
    if left > 0 {
        TORN.store(left < lines.len(), Relaxed);
        count_dropped(&lines[lines.len() - left..]);
    }
}

#[cold]
fn count_dropped(lines: &[u8]) {
    let count = lines.iter().filter(|byte| **byte == b'\n').count();
    DROPPED.fetch_add(count.max(1) as u64, Relaxed);
}

/// Calls `write` until all bytes are written or an error occurs. Returns the number of bytes that are not written.
fn write_all(bytes: &[u8], write: &mut impl FnMut(&[u8]) -> nix::Result<usize>) -> usize {
    let mut rest = bytes;
    while !rest.is_empty() {
        match write(rest) {
            Ok(0) => break,
            Ok(written) => rest = &rest[written.min(rest.len())..],
            Err(Errno::EINTR) => {}
            Err(_) => break,
        }
    }
    rest.len()
}

fn write_once(bytes: &[u8]) {
    while let Err(Errno::EINTR) = unistd::write(io::stderr(), bytes) {}
}

/// Duplicates descriptor 2.
///
/// # Errors
/// Those of fcntl(2).
pub fn stderr_again() -> io::Result<OwnedFd> {
    io::stderr().as_fd().try_clone_to_owned()
}

/// Duplicates a descriptor that this process has inherited.
///
/// # Errors
/// `EBADF` when the number is not open.
pub fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    super::descriptor::borrow(&number)?.try_clone_to_owned()
}

/// Calls write(2) once, and repeats the call only if a signal interrupted it. Returns the number of bytes written,
/// which may be fewer than given.
///
/// # Errors
/// Those of write(2) but `EINTR`.
pub fn write_to(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match unistd::write(fd, bytes) {
            Err(Errno::EINTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Whether descriptor 2 is a pipe or a socket.
fn is_pipe() -> bool {
    let known = KIND.load(Relaxed);
    if known != UNKNOWN {
        return known == PIPE;
    }
    let kind = nix::sys::stat::fstat(io::stderr())
        .map(|stat| stat.st_mode & libc::S_IFMT)
        .unwrap_or_default();
    let pipe = [libc::S_IFIFO, libc::S_IFSOCK].contains(&kind);
    KIND.store(if pipe { PIPE } else { FILE }, Relaxed);
    pipe
}

/// The size of the file at descriptor 2; `None` if the descriptor is no regular file.
pub fn stderr_size() -> Option<u64> {
    let stat = nix::sys::stat::fstat(io::stderr()).ok()?;
    let is_file = stat.st_mode & libc::S_IFMT == libc::S_IFREG;
    is_file.then(|| stat.st_size.unsigned_abs())
}

/// The device and inode of a descriptor's file; `None` if fstat(2) fails.
pub fn identity(fd: impl AsFd) -> Option<(u64, u64)> {
    let stat = nix::sys::stat::fstat(fd).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// Opens a log for appending, and creates it if it does not exist. A new file gets mode 0640 less the umask.
///
/// # Errors
/// Those of [`trusted_path::open`]; `ENXIO` for a FIFO without a reader.
pub fn open_log(path: &Path) -> io::Result<File> {
    // O_NOCTTY: if the log is a terminal, it must not become the daemon's controlling terminal.
    // O_NONBLOCK, cleared after the open: opening a FIFO without a reader fails instead of waiting.
    let flags =
        OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    let file = trusted_path::open(path, flags, Mode::from_bits_truncate(0o640))?;
    super::descriptor::set_nonblocking(&file, false)?;
    Ok(file)
}

/// Makes an open log the standard output and standard error of this process.
///
/// # Errors
/// Those of dup2(2).
pub fn write_output_to(log: impl AsFd) -> io::Result<()> {
    let log = log.as_fd();
    unistd::dup2_stdout(log)?;
    unistd::dup2_stderr(log)?;
    KIND.store(UNKNOWN, Relaxed);
    Ok(())
}

/// Calls [`write_output_to`] with the first descriptor of `logs`, and closes the others. Does nothing if `logs` is
/// empty. A failure is logged.
pub fn write_output_to_first(logs: Vec<OwnedFd>) {
    if let Some(log) = logs.into_iter().next()
        && let Err(error) = write_output_to(log)
    {
        tracing::error!(
            "the log stays in its old file: the new one cannot become the standard output: {error}"
        );
    }
}

/// Opens the log at `path` (see [`open_log`]) and makes it the standard output and standard error of this process.
///
/// # Errors
/// Those of [`open_log`] and [`write_output_to`]. If the log cannot be opened, the outputs are unchanged.
pub fn redirect_output(path: &Path) -> io::Result<()> {
    write_output_to(open_log(path)?)
}

/// Makes `/dev/null` the standard input.
///
/// # Errors
/// Those of open(2) and dup2(2).
pub fn close_input() -> io::Result<()> {
    unistd::dup2_stdin(File::open("/dev/null")?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_do_not_fit_are_counted() {
        let mut file = Vec::new();
        let mut space = 10;
        let mut write = |space: &mut usize, lines: &[u8]| {
            write_to_file(lines, |bytes| {
                let count = bytes.len().min(*space);
                *space -= count;
                file.extend_from_slice(&bytes[..count]);
                match count {
                    0 => Err(Errno::ENOSPC),
                    count => Ok(count),
                }
            });
        };
        write(&mut space, b"one\n");
        // the space is too small for the last two lines
        write(&mut space, b"two\nthree\nfour\n");
        write(&mut space, b"five\n");
        space = 1000;
        write(&mut space, b"six\n");
        write(&mut space, b"seven\n");
        let report = "(3 lines of the log were dropped, because they could not be written)";
        let expected = format!("one\ntwo\nth\n{report}\nsix\nseven\n");
        assert_eq!(String::from_utf8_lossy(&file), expected);
    }
}
