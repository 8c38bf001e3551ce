//! The log thread: a thread of the master that distributes lines to loggers.
//!
//! The thread is started only if an option needs it. Without the thread, every process writes to descriptor 2 itself.
//!
//! ```text
//! application, and whatever it starts ── descriptors 1 and 2 ─┐
//!                                                             ├─▶ log thread ─▶ filters ─▶ routes ─▶ encoders ─▶ sinks
//! ruwsgi's own lines, request lines ─── channel ──────────────┘
//! ```
//!
//! Both inputs are sockets whose packets keep the boundaries of writes. An event is the text of one write, as in uWSGI,
//! so a traceback that the application logs by one call stays one event. The kernel adds the process id of the writer.
//!
//! The thread never blocks on a sink. A sink that cannot write at once buffers events up to a limit; then it drops
//! events, counts them and reports the count. Therefore a full disk, a stopped reader or a dead syslog daemon slows no
//! request. A writer waits only for the thread itself: while the socket is full, for at most 100 ms. The socket
//! fills when the thread gets less CPU time than the writers; the wait prevents the loss of lines under load.
//!
//! Only the thread writes to a log file and rotates it, so no line is lost or duplicated. Output that a worker wrote
//! before it was killed is still in the socket and reaches the sinks.

mod alarms;
mod events;
mod pipeline;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::sys::log_socket::{self, Boundaries};
use crate::sys::poll::{self, Interest};
use crate::sys::stdio;
use crate::sys::wakeup::Wakeup;

use super::settings::LogThreadSettings;
use super::sinks::channel as process_channel;
pub(crate) use alarms::{AlarmQueue, LineAlarm};
use events::Events;
use pipeline::Pipeline;

/// Maximum time that a process of ruwsgi waits for the thread to accept its lines. After lines were dropped, the
/// process does not wait again until the thread has accepted lines.
const RECORD_TIMEOUT: Duration = Duration::from_millis(100);
/// Maximum time that a write of the application to its standard output or error waits for the thread. After this time
/// the write fails in the application. Therefore this time is longer than [`RECORD_TIMEOUT`].
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum packets read from each socket before the sinks are flushed.
const BATCH: usize = 256;
/// Maximum time that the end of the thread waits for sinks with a slow reader.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// Time for which the output socket is not polled after the application has shut the socket down.
const PAUSE: Duration = Duration::from_millis(50);
/// Maximum number of panics of the thread. The last panic ends the thread.
const MAX_PANICS: usize = 10;

/// A command of the master to the log thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Reopen,
    Rotate,
    Finish,
}

/// The handle by which the master controls the running log thread.
struct Handle {
    thread: JoinHandle<()>,
    commands: Sender<Command>,
    wakeup: OwnedWakeup,
    original: OwnedFd,
    alarms: Option<Arc<AlarmQueue>>,
}

type OwnedWakeup = Arc<Wakeup>;

static HANDLE: Mutex<Option<Handle>> = Mutex::new(None);

/// Starts the log thread and redirects descriptors 1 and 2 to it. From now on all lines of this process and of its
/// children pass through the thread.
///
/// Must be called after the process has changed its user for the last time, because the thread creates log files as
/// that user.
///
/// # Errors
/// The error of a sink that cannot be opened, with the sink's name; the errors of creating the sockets and the thread.
pub(crate) fn start(settings: LogThreadSettings) -> io::Result<()> {
    let original = stdio::stderr_again()?;
    let boundaries = match settings.stream {
        true => Boundaries::Lost,
        false => Boundaries::Kept,
    };
    let alarms = match settings.alarms.is_empty() {
        true => None,
        false => Some(Arc::new(AlarmQueue::new(settings.alarms.clone())?)),
    };
    let pipeline = Pipeline::open(&settings, &original, alarms.clone())?;
    let (output, output_writer) = log_socket::pair(boundaries, OUTPUT_TIMEOUT)?;
    let (records, records_writer) = log_socket::pair(Boundaries::Kept, RECORD_TIMEOUT)?;
    let wakeup = OwnedWakeup::new(Wakeup::new()?);
    let (commands, receiver) = channel();
    let reader = Reader {
        output,
        records,
        wakeup: wakeup.clone(),
        commands: receiver,
        events: Events::default(),
        pipeline,
        buffer: vec![0; log_socket::MAX_PACKET],
        ignored_until: None,
    };
    let thread = std::thread::Builder::new()
        .name("ruwsgi-log".to_owned())
        .spawn(move || run(reader))?;
    stdio::write_output_to(&output_writer)?;
    process_channel::open(records_writer);
    let handle = Handle {
        thread,
        commands,
        wakeup,
        original,
        alarms,
    };
    *HANDLE.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
    Ok(())
}

/// Whether the log thread runs.
pub(crate) fn is_running() -> bool {
    HANDLE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_some()
}

/// The queue of the alarms that lines of the log raise; `None` if `log-alarm` is not set.
pub(crate) fn alarms() -> Option<Arc<AlarmQueue>> {
    let handle = HANDLE.lock().unwrap_or_else(PoisonError::into_inner);
    handle.as_ref().and_then(|handle| handle.alarms.clone())
}

/// Commands the log thread to reopen all log files. Does not wait; does nothing if no thread runs.
pub(crate) fn reopen() {
    command(Command::Reopen);
}

/// Commands the log thread to rotate all log files. Does not wait; does nothing if no thread runs.
pub(crate) fn rotate() {
    command(Command::Rotate);
}

/// Returns a descriptor for the output of processes that outlive the master. It is a duplicate of descriptor 2. If the
/// log thread runs, it is a duplicate of the descriptor 2 that the process had before the thread started.
///
/// # Errors
/// Those of fcntl(2).
pub(crate) fn lasting_output() -> io::Result<OwnedFd> {
    match &*HANDLE.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(handle) => handle.original.try_clone(),
        None => stdio::stderr_again(),
    }
}

/// Ends the log thread and waits until it has written the remaining lines. Then descriptors 1 and 2 of this process are
/// restored. Does nothing if no thread runs.
pub(crate) fn finish() {
    let handle = HANDLE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(handle) = handle else { return };
    process_channel::close();
    if handle.commands.send(Command::Finish).is_ok() {
        handle.wakeup.wake();
        // the result is not needed, because the panic hook has logged a panic of the thread
        let _ = handle.thread.join();
    }
    // after a failure descriptor 2 leads to a socket without a reader, so the failure cannot be reported
    let _ = stdio::write_output_to(&handle.original);
}

fn command(command: Command) {
    if let Some(handle) = &*HANDLE.lock().unwrap_or_else(PoisonError::into_inner)
        && handle.commands.send(command).is_ok()
    {
        handle.wakeup.wake();
    }
}

/// The state of the log thread.
struct Reader {
    output: OwnedFd,
    records: OwnedFd,
    wakeup: OwnedWakeup,
    commands: Receiver<Command>,
    events: Events,
    pipeline: Pipeline,
    buffer: Vec<u8>,
    /// Time until which `output` is not polled. It is set when the application has shut the socket down, because
    /// poll(2) then always reports the socket as readable.
    ignored_until: Option<Instant>,
}

fn run(mut reader: Reader) {
    process_channel::become_reader();
    for _ in 0..MAX_PANICS {
        // if an event causes a panic, the event is lost and the thread continues with the next event
        if catch_unwind(AssertUnwindSafe(|| reader.serve())).is_ok() {
            return;
        }
    }
}

impl Reader {
    /// Distributes lines until [`Command::Finish`] arrives.
    fn serve(&mut self) {
        loop {
            self.wait();
            self.wakeup.clear();
            let mut last = false;
            while let Ok(command) = self.commands.try_recv() {
                match command {
                    Command::Reopen => self.pipeline.reopen(),
                    Command::Rotate => self.pipeline.rotate(),
                    Command::Finish => last = true,
                }
            }
            while self.read() && last {}
            self.events.expire(Instant::now(), last, &mut |pid, event| {
                self.pipeline.output(pid, event)
            });
            self.pipeline.flush();
            if last {
                return self.end();
            }
        }
    }

    fn wait(&self) {
        let now = Instant::now();
        let mut fds = vec![
            (self.records.as_fd(), Interest::Read),
            (self.wakeup.as_fd(), Interest::Read),
        ];
        let pause = self.ignored_until.filter(|until| now < *until);
        if pause.is_none() {
            fds.push((self.output.as_fd(), Interest::Read));
        }
        fds.extend(self.pipeline.waiting().map(|fd| (fd, Interest::Write)));
        let deadline = self.events.deadline().into_iter().chain(pause).min();
        let timeout = deadline.map(|at| at.saturating_duration_since(now));
        if poll::wait_for(&fds, timeout).is_err() {
            // poll(2) failed because the kernel has no memory, which is temporary
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Reads at most [`BATCH`] packets from each socket and passes them to the pipeline; returns false if there were
    /// none.
    ///
    /// In the log, the output of the application during a request must precede the request's line. Therefore the
    /// records are read before the output, and distributed after it.
    fn read(&mut self) -> bool {
        let mut records = Vec::new();
        while records.len() < BATCH
            && let Ok(Some((size, _))) = log_socket::receive(self.records.as_fd(), &mut self.buffer)
        {
            records.push(self.buffer[..size].to_vec());
        }
        let mut count = records.len();
        for _ in 0..BATCH {
            let Ok(Some((size, pid))) = log_socket::receive(self.output.as_fd(), &mut self.buffer)
            else {
                break;
            };
            let now = Instant::now();
            // at the end of the stream, the size is 0 and there is no process id; an empty packet has a process id
            if size == 0 && pid == 0 {
                self.ignored_until = Some(now + PAUSE);
                break;
            }
            count += 1;
            let pipeline = &mut self.pipeline;
            self.events
                .push(pid, &self.buffer[..size], now, &mut |pid, event| {
                    pipeline.output(pid, event)
                });
        }
        for record in records {
            if let Some((source, lines)) = process_channel::parse(&record) {
                self.pipeline.record(source, lines);
            }
        }
        count > 0
    }

    /// Writes the last lines to sinks with a slow reader, for at most [`LAST_WAIT`].
    fn end(&mut self) {
        let until = Instant::now() + LAST_WAIT;
        loop {
            let waiting: Vec<_> = self
                .pipeline
                .waiting()
                .map(|fd| (fd, Interest::Write))
                .collect();
            let left = until.saturating_duration_since(Instant::now());
            if waiting.is_empty() || left.is_zero() || poll::wait_for(&waiting, Some(left)).is_err()
            {
                return;
            }
            drop(waiting);
            self.pipeline.flush();
        }
    }
}
