//! The scoreboard: the state of each worker and thread, in memory that the workers share with the master.
//!
//! One memfd per generation holds a header, one [`WorkerRow`] per worker, one [`ThreadRow`] per thread, and one
//! [`SignalRow`] per worker and one for all workers. Worker rows and thread rows have one writer each (the worker or
//! thread) and any number of readers. A request costs a few relaxed stores and no system call. From the rows the master
//! finds requests that exceed a deadline and workers that exceed a limit.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{
    AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst,
};

use super::locks::Locks;
use super::mapping::Mapping;
use super::measurements::MeasurementRow;
use super::robust_lock::RobustLock;
use super::signal_rows::SignalRow;

const MAGIC: u64 = 0x7275_7773_6769_0001;
/// The alignment of the signal rows, bytes.
const PAGE: usize = 4096;
/// Maximum length of the note about a thread's current request, bytes.
pub const NOTE: usize = 256;

#[repr(C, align(128))]
struct Header {
    magic: AtomicU64,
    processes: AtomicU32,
    threads: AtomicU32,
    /// Whether the threads count the distribution of their requests: 1 if they do, otherwise 0.
    measures: AtomicU32,
    user_lock: RobustLock,
}

/// The row of a worker: its process id and counters. The counters of a row, and of its thread rows, never decrease: the
/// next worker that uses the row continues them.
#[repr(C, align(128))]
#[derive(Default)]
pub struct WorkerRow {
    /// The worker's process id; 0 if the row is unused.
    pub pid: AtomicI32,
    /// Number of requests refused before they reached the application.
    pub refused: AtomicU64,
    /// Number of response bytes sent by the I/O thread.
    pub sent: AtomicU64,
    /// Number of responses of the I/O thread that did not reach their clients completely.
    pub write_errors: AtomicU64,
    /// Number of connections that an exiting worker still sends to or reads from, without those of its request threads.
    pub pending_connections: AtomicU32,
    /// Number of signals of the application whose handlers the worker has run.
    pub signals: AtomicU64,
    /// Number of requests in the row when its current worker was forked.
    requests_before: AtomicU64,
    /// Number of incomplete responses in the row when its current worker was forked.
    write_errors_before: AtomicU64,
    /// Number of signals in the row when its current worker was forked.
    signals_before: AtomicU64,
    /// The worker's id; 0 before its start.
    pub id: AtomicU32,
    /// The time at which the worker began, seconds since 1970.
    pub started: AtomicU64,
}

/// The row of a thread: its counters and its current request.
#[repr(C, align(128))]
pub struct ThreadRow {
    /// Number of requests begun.
    pub requests: AtomicU64,
    /// Number of requests that were answered with a static file. `requests` includes these requests.
    pub static_requests: AtomicU64,
    /// Number of requests that a route has answered. The requests above include them.
    pub routed_requests: AtomicU64,
    /// Number of requests in which the application raised an exception.
    pub exceptions: AtomicU64,
    /// Number of response bytes sent by the thread, including the response heads.
    pub sent: AtomicU64,
    /// Total duration of the thread's requests, microseconds. Requests for static files do not count.
    pub running_us: AtomicU64,
    /// Moving average of the duration of the thread's requests, microseconds. A new request counts as much as all
    /// earlier ones.
    pub average_us: AtomicU64,
    /// Start of the current request, in microseconds of the monotonic clock; 0 if the thread serves no request.
    pub busy_since: AtomicU64,
    /// Number of responses of the thread that did not reach their clients completely.
    pub write_errors: AtomicU64,
    /// The request whose line was last appended to the ring, as its number in this thread, and the position at which
    /// the line ends. See [`ThreadRow::mark_line`].
    lined_request: AtomicU64,
    line_end: AtomicU64,
    /// Number of variables of the current request.
    pub vars: AtomicU32,
    /// Size of the variables of the current request, bytes.
    pub block: AtomicU32,
    /// The signal of the application whose handler the thread runs, plus 1; 0 if the thread runs no handler.
    pub signal: AtomicU32,
    /// The deadline that the application has set for the current request (`uwsgi.set_user_harakiri`), in microseconds
    /// of the monotonic clock; 0 if there is no such deadline.
    pub deadline: AtomicU64,
    note_len: AtomicU64,
    note: [AtomicU64; NOTE / 8],
}

impl ThreadRow {
    /// Stores the note of the current request (`GET /path` and the client address), truncated to [`NOTE`] bytes.
    pub fn note(&self, text: &[u8]) {
        let text = &text[..text.len().min(NOTE)];
        self.note_len.store(0, Release);
        for (word, bytes) in self.note.iter().zip(text.chunks(8)) {
            let mut buffer = [0u8; 8];
            buffer[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(buffer), Relaxed);
        }
        self.note_len.store(text.len() as u64, Release);
    }

    /// Records that the line of the current request ends at the position `end` of the worker's ring of lines. The caller
    /// makes the line visible afterwards.
    #[inline]
    pub fn mark_line(&self, end: u64) {
        self.line_end.store(end, Release);
        // this field is stored last: if the worker is killed between the two stores, the line counts as missing, which
        // is correct
        self.lined_request
            .store(self.requests.load(Relaxed), Release);
    }

    /// Returns the position of the ring at which the line of the current request ends; `None` if the line is not
    /// written.
    pub fn line_end(&self) -> Option<u64> {
        let is_current = self.lined_request.load(Relaxed) == self.requests.load(Relaxed);
        is_current.then(|| self.line_end.load(Relaxed))
    }

    /// Returns the note of the current or last request, for a log line. The note can mix two requests if the thread
    /// writes it at the same time.
    pub fn read_note(&self) -> Vec<u8> {
        let len = (self.note_len.load(Relaxed) as usize).min(NOTE);
        let mut text: Vec<u8> = self
            .note
            .iter()
            .take(len.div_ceil(8))
            .flat_map(|word| word.load(Relaxed).to_ne_bytes())
            .collect();
        text.truncate(len);
        text
    }

    fn end_request(&self) {
        self.busy_since.store(0, Relaxed);
        self.lined_request.store(0, Relaxed);
        self.line_end.store(0, Relaxed);
        self.note_len.store(0, Relaxed);
        self.signal.store(0, Relaxed);
        self.deadline.store(0, Relaxed);
    }
}

/// The mapped scoreboard of one generation.
pub struct Scoreboard {
    mapping: Mapping,
    fd: OwnedFd,
    processes: usize,
    threads: usize,
}

impl Scoreboard {
    /// Creates a scoreboard with `processes` worker rows and `threads` thread rows for each. The size of its memfd is
    /// sealed.
    ///
    /// # Errors
    /// Those of memfd_create(2), ftruncate(2), fcntl(2) and mmap(2).
    pub fn create(processes: u32, threads: u32) -> io::Result<Self> {
        let (rows, columns) = (processes as usize, threads as usize);
        let (mapping, fd) = Mapping::create(c"ruwsgi-scoreboard", size(rows, columns))?;
        let board = Self {
            mapping,
            fd,
            processes: rows,
            threads: columns,
        };
        let header = board.header();
        header.processes.store(processes, Relaxed);
        header.threads.store(threads, Relaxed);
        header.magic.store(MAGIC, Release);
        Ok(board)
    }

    /// Maps the scoreboard behind a received descriptor. `processes` and `threads` must be those of
    /// [`Scoreboard::create`].
    ///
    /// # Errors
    /// `InvalidData` if the file is not a scoreboard of this size; those of fstat(2) and mmap(2).
    pub fn open(fd: OwnedFd, processes: u32, threads: u32) -> io::Result<Self> {
        let (processes, threads) = (processes as usize, threads as usize);
        let board = Self {
            mapping: Mapping::open(fd.as_fd(), size(processes, threads))?,
            fd,
            processes,
            threads,
        };
        if board.header().magic.load(Relaxed) != MAGIC {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(board)
    }

    /// Returns the descriptor of the memfd, which the master sends to the zygote.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Maps lock 0 of the application, which exists without the option `locks`.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn user_lock(&self) -> io::Result<Locks> {
        let size = size(self.processes, self.threads);
        Locks::one_in(self.fd(), size, std::mem::offset_of!(Header, user_lock))
    }

    /// Returns the number of worker rows.
    pub fn processes(&self) -> u32 {
        self.processes as u32
    }

    /// Returns the number of thread rows per worker row.
    pub fn threads(&self) -> u32 {
        self.threads as u32
    }

    fn header(&self) -> &Header {
        // SAFETY: the mapping begins with a `Header` (see `size`) and is page aligned, and zero is a valid value of its
        // atomics.
        unsafe { &*self.mapping.address().as_ptr().cast::<Header>() }
    }

    /// Returns the worker row with the number `row`, from 1; `None` if the number is out of range.
    pub fn worker(&self, row: u32) -> Option<&WorkerRow> {
        let index = (row as usize).checked_sub(1)?;
        (index < self.processes).then(|| {
            let offset = size_of::<Header>() + index * size_of::<WorkerRow>();
            // SAFETY: the row is within the mapping (see `size`), and is aligned because all parts are multiples of 128
            // bytes.
            unsafe {
                &*self
                    .mapping
                    .address()
                    .as_ptr()
                    .add(offset)
                    .cast::<WorkerRow>()
            }
        })
    }

    /// Returns the row of the thread `thread` (from 0) of the worker row `row` (from 1); `None` if a number is out of
    /// range.
    pub fn thread(&self, row: u32, thread: u32) -> Option<&ThreadRow> {
        let index = (row as usize).checked_sub(1)?;
        (index < self.processes && (thread as usize) < self.threads).then(|| {
            let offset = size_of::<Header>()
                + self.processes * size_of::<WorkerRow>()
                + (index * self.threads + thread as usize) * size_of::<ThreadRow>();
            // SAFETY: the row is within the mapping and aligned, as explained in `worker`.
            unsafe {
                &*self
                    .mapping
                    .address()
                    .as_ptr()
                    .add(offset)
                    .cast::<ThreadRow>()
            }
        })
    }

    /// Lets the threads count the distribution of their requests. This applies to workers that are forked later.
    pub fn enable_measurements(&self) {
        self.header().measures.store(1, Relaxed);
    }

    /// Returns the distribution of a thread's requests; `None` if the threads do not count it, or if a number is out of
    /// range.
    #[inline]
    pub fn measurements(&self, row: u32, thread: u32) -> Option<&MeasurementRow> {
        if self.header().measures.load(Relaxed) == 0 {
            return None;
        }
        let index = (row as usize).checked_sub(1)?;
        (index < self.processes && (thread as usize) < self.threads).then(|| {
            let offset = measurements_at(self.processes, self.threads)
                + (index * self.threads + thread as usize) * size_of::<MeasurementRow>();
            // SAFETY: within the mapping (see `size`), and aligned, because the rows begin on a page and their size is a
            // multiple of 128.
            unsafe {
                &*self
                    .mapping
                    .address()
                    .as_ptr()
                    .add(offset)
                    .cast::<MeasurementRow>()
            }
        })
    }

    /// Returns the signals that wait for the worker of row `row` (from 1), or for any worker if `row` is 0; `None` if
    /// the number is out of range.
    pub fn signals(&self, row: u32) -> Option<&SignalRow> {
        let index = row as usize;
        (index <= self.processes).then(|| {
            let offset = signals_at(self.processes, self.threads) + index * size_of::<SignalRow>();
            // SAFETY: within the mapping (`size`), and aligned by `signals_at`; zero is valid for atomics.
            unsafe {
                &*self
                    .mapping
                    .address()
                    .as_ptr()
                    .add(offset)
                    .cast::<SignalRow>()
            }
        })
    }

    /// Returns the signal whose handler each busy thread of a row runs.
    pub fn running_signals(&self, row: u32) -> impl Iterator<Item = u8> {
        self.threads_of(row)
            .filter_map(|thread| u8::try_from(thread.signal.load(SeqCst).checked_sub(1)?).ok())
    }

    fn threads_of(&self, row: u32) -> impl Iterator<Item = &ThreadRow> {
        (0..self.threads()).filter_map(move |thread| self.thread(row, thread))
    }

    /// Returns the number of requests begun by the workers that have used this row.
    pub fn row_requests(&self, row: u32) -> u64 {
        self.sum(row, |thread| &thread.requests)
    }

    /// Returns the number of requests begun by the current worker of this row.
    pub fn worker_requests(&self, row: u32) -> u64 {
        let before = self.worker(row).map(|row| &row.requests_before);
        let before = before.map_or(0, |before| before.load(Relaxed));
        self.row_requests(row).wrapping_sub(before)
    }

    /// Returns the total duration of the requests of this row, microseconds.
    pub fn row_running_us(&self, row: u32) -> u64 {
        self.sum(row, |thread| &thread.running_us)
    }

    /// Returns the number of responses of this row's worker that did not reach their clients completely.
    pub fn worker_write_errors(&self, row: u32) -> u64 {
        let before = self.worker(row).map(|row| &row.write_errors_before);
        let before = before.map_or(0, |before| before.load(Relaxed));
        self.row_write_errors(row).wrapping_sub(before)
    }

    /// Returns the number of signals that this row's worker has handled.
    pub fn worker_signals(&self, row: u32) -> u64 {
        self.worker(row).map_or(0, |row| {
            let before = row.signals_before.load(Relaxed);
            row.signals.load(Relaxed).wrapping_sub(before)
        })
    }

    fn row_write_errors(&self, row: u32) -> u64 {
        let by_io_thread = self
            .worker(row)
            .map_or(0, |row| row.write_errors.load(Relaxed));
        self.sum(row, |thread| &thread.write_errors)
            .wrapping_add(by_io_thread)
    }

    /// Adds a counter of the thread rows of a row. The application can write any value to the shared memory, so the
    /// addition must not panic on overflow.
    fn sum(&self, row: u32, counter: impl Fn(&ThreadRow) -> &AtomicU64) -> u64 {
        self.threads_of(row)
            .map(|thread| counter(thread).load(Relaxed))
            .fold(0, u64::wrapping_add)
    }

    /// Returns the number of requests of all workers of the generation, including workers that have exited.
    pub fn total_requests(&self) -> u64 {
        (1..=self.processes())
            .map(|row| self.row_requests(row))
            .fold(0, u64::wrapping_add)
    }

    /// Prepares the worker row `row` and its thread rows for the next worker. The counters keep their values. Must be
    /// called only while no worker uses the row.
    pub fn reset_worker(&self, row: u32) {
        let (requests, write_errors) = (self.row_requests(row), self.row_write_errors(row));
        if let Some(row) = self.worker(row) {
            row.pid.store(0, Relaxed);
            row.id.store(0, Relaxed);
            row.pending_connections.store(0, Relaxed);
            row.requests_before.store(requests, Relaxed);
            row.write_errors_before.store(write_errors, Relaxed);
            let signals = row.signals.load(Relaxed);
            row.signals_before.store(signals, Relaxed);
        }
        if let Some(signals) = self.signals(row) {
            signals.clear();
        }
        self.threads_of(row).for_each(ThreadRow::end_request);
    }
}

fn size(processes: usize, threads: usize) -> usize {
    measurements_at(processes, threads) + processes * threads * size_of::<MeasurementRow>()
}

/// The offset of the distributions. They begin on a separate page, which the kernel allocates when the first request is
/// counted.
fn measurements_at(processes: usize, threads: usize) -> usize {
    let signals = (processes + 1) * size_of::<SignalRow>();
    (signals_at(processes, threads) + signals).next_multiple_of(PAGE)
}

/// The offset of the signal rows. They begin on a separate page, which the kernel allocates when the first signal is
/// raised.
fn signals_at(processes: usize, threads: usize) -> usize {
    let rows = size_of::<Header>()
        + processes * size_of::<WorkerRow>()
        + processes * threads * size_of::<ThreadRow>();
    rows.next_multiple_of(PAGE)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_process_reads_what_another_writes() {
        let ours = Scoreboard::create(2, 3).unwrap();
        let theirs = Scoreboard::open(ours.fd().try_clone_to_owned().unwrap(), 2, 3).unwrap();
        let row = theirs.thread(2, 1).unwrap();
        row.requests.fetch_add(7, Relaxed);
        row.note(b"GET /a/rather/long/path 127.0.0.1");
        assert_eq!(ours.worker_requests(2), 7);
        assert_eq!(
            ours.thread(2, 1).unwrap().read_note(),
            b"GET /a/rather/long/path 127.0.0.1"
        );
        ours.reset_worker(2);
        assert_eq!((ours.worker_requests(2), ours.total_requests()), (0, 7));
    }

    #[test]
    fn rows_out_of_range_are_none() {
        let board = Scoreboard::create(1, 1).unwrap();
        assert!(
            board.worker(0).is_none() && board.worker(2).is_none() && board.thread(1, 1).is_none()
        );
    }

    #[test]
    fn a_descriptor_of_another_size_is_refused() {
        let board = Scoreboard::create(1, 1).unwrap();
        let fd = board.fd().try_clone_to_owned().unwrap();
        assert!(Scoreboard::open(fd, 2, 1).is_err());
    }

    #[test]
    fn the_size_cannot_be_changed() {
        let board = Scoreboard::create(1, 1).unwrap();
        assert!(nix::unistd::ftruncate(board.fd(), 0).is_err());
        assert!(nix::unistd::ftruncate(board.fd(), 1 << 20).is_err());
    }

    #[test]
    fn a_line_belongs_to_one_request() {
        let board = Scoreboard::create(1, 1).unwrap();
        let row = board.thread(1, 0).unwrap();
        row.requests.store(1, Relaxed);
        assert_eq!(row.line_end(), None);
        row.mark_line(80);
        assert_eq!(row.line_end(), Some(80));
        row.requests.store(2, Relaxed);
        assert_eq!(row.line_end(), None);
    }

    #[test]
    fn a_note_is_truncated() {
        let board = Scoreboard::create(1, 1).unwrap();
        let row = board.thread(1, 0).unwrap();
        row.note(&[b'x'; 1000]);
        assert_eq!(row.read_note().len(), NOTE);
    }
}
