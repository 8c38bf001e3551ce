//! The channel to the log thread of the master. If the thread runs, every process of the instance sends its lines
//! through the channel.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::sys::fork_guard;
use crate::sys::log_socket::{self, Patience};
use crate::sys::private_fd::PrivateFd;

use super::source::Source;

/// Maximum bytes of lines in a record; the rest is cut off.
const MAX_RECORD: usize = 128 << 10;

static CHANNEL: OnceLock<PrivateFd> = OnceLock::new();
/// Whether lines are sent to [`CHANNEL`]; false after [`close`].
static IS_OPEN: AtomicBool = AtomicBool::new(false);
/// Number of records dropped since the last record that was sent.
static DROPPED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread is the log thread, the reader of the channel. The log thread must not wait for the channel,
    /// because it would wait for itself.
    static IS_READER: Cell<bool> = const { Cell::new(false) };
}

/// Sends the lines of this process to the log thread from now on. A second call does nothing.
pub fn open(channel: OwnedFd) {
    if CHANNEL.set(channel.into()).is_ok() {
        IS_OPEN.store(true, Relaxed);
    }
}

/// Returns the descriptor of the channel, to pass it to child processes; `None` if the channel is not in use.
pub fn descriptor() -> Option<BorrowedFd<'static>> {
    CHANNEL.get().filter(|_| is_open()).map(AsFd::as_fd)
}

/// Stops using the channel: from now on lines go to descriptor 2.
pub(in crate::log) fn close() {
    IS_OPEN.store(false, Relaxed);
}

/// Marks the calling thread as the reader of the channel, so that its sends do not wait.
pub(in crate::log) fn become_reader() {
    IS_READER.set(true);
}

#[inline]
fn is_open() -> bool {
    IS_OPEN.load(Relaxed)
}

/// Sends lines to the log thread. Waits at most 100 ms while the socket is full, and then drops and counts the lines.
/// Returns false if the caller must write the lines to descriptor 2.
#[inline]
pub(super) fn send(source: Source, lines: &[u8]) -> bool {
    is_open() && send_to_thread(source, lines)
}

#[cold]
fn send_to_thread(source: Source, lines: &[u8]) -> bool {
    let Some(channel) = CHANNEL.get() else {
        return false;
    };
    // a process that the application has forked has no open channel
    if fork_guard::is_forked() {
        return false;
    }
    let dropped = DROPPED.load(Relaxed);
    let patience = match dropped == 0 && !IS_READER.get() {
        true => Patience::Waits,
        false => Patience::None,
    };
    let source = match IS_READER.get() {
        true => Source::Thread,
        false => source,
    };
    let cut = cut(lines);
    let lines = cut.as_deref().unwrap_or(lines);
    match log_socket::send(channel.as_fd(), [&[mark(source)], lines], patience) {
        Ok(()) if dropped > 0 => report_dropped(channel.as_fd()),
        Ok(()) => {}
        Err(error) if is_end(&error) => return false,
        Err(_) => {
            DROPPED.fetch_add(1, Relaxed);
        }
    }
    true
}

/// Returns the beginning of `lines`, with a line feed at the end, if they are longer than [`MAX_RECORD`]; otherwise
/// `None`.
fn cut(lines: &[u8]) -> Option<Vec<u8>> {
    let mut beginning = lines.get(..MAX_RECORD)?.to_vec();
    beginning.pop();
    beginning.push(b'\n');
    (lines.len() > MAX_RECORD).then_some(beginning)
}

/// Whether the error means that the log thread has ended. In most processes descriptor 2 also leads to the log thread,
/// so the line is lost.
fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

#[cold]
fn report_dropped(channel: BorrowedFd<'_>) {
    let dropped = DROPPED.swap(0, Relaxed);
    if dropped > 0 {
        let line =
            format!("({dropped} lines of the log were dropped, because the log thread hung)\n");
        let _ = log_socket::send(
            channel,
            [&[mark(Source::Server)], line.as_bytes()],
            Patience::None,
        );
    }
}

/// Returns the first byte of a record, which encodes the source of its lines.
fn mark(source: Source) -> u8 {
    match source {
        Source::Server => b's',
        Source::Alarm => b'a',
        Source::Thread => b't',
        Source::Request => b'r',
    }
}

/// Splits a record into its source and its lines; `None` if its first byte is unknown or missing.
pub(in crate::log) fn parse(record: &[u8]) -> Option<(Source, &[u8])> {
    match record.split_first()? {
        (b's', lines) => Some((Source::Server, lines)),
        (b'a', lines) => Some((Source::Alarm, lines)),
        (b't', lines) => Some((Source::Thread, lines)),
        (b'r', lines) => Some((Source::Request, lines)),
        _ => None,
    }
}
