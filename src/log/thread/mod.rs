//! The log thread: one thread of the master that distributes lines to loggers, if any are configured.
//!
//! Without an option that needs it there is no thread: every process writes to descriptor 2 itself.
//!
//! ```text
//! application, and whatever it starts ── descriptors 1 and 2 ─┐
//!                                                             ├─▶ log thread ─▶ filters ─▶ routes ─▶ encoders ─▶ sinks
//! ruwsgi's own lines, request lines ─── channel ──────────────┘
//! ```
//!
//! Both are sockets whose packets keep the boundaries of writes: an event is what one write has written, as in uWSGI, so
//! that a traceback of the application that is logged by one call stays one event. The kernel adds the id of the writer.
//!
//! The thread waits for nothing but these sockets: a sink that would make it wait buffers up to a limit, then drops, counts,
//! and reports the count. So a full disk, a stopped reader or a dead syslog daemon slows no request. The writers wait (one
//! second at most) only for the thread itself, when it gets less of the CPU than they do; so no line is lost under load.
//!
//! A file is rotated by the thread, which is its only writer; no line is lost or doubled. What a worker has written before
//! it is killed is in the socket and reaches the sinks.

mod events;
mod pipeline;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::sys::log_socket::{self, Boundaries};
use crate::sys::poll::{self, Interest};
use crate::sys::stdio;
use crate::sys::wakeup::Wakeup;

use super::settings::LogThreadSettings;
use super::sinks::channel as process_channel;
use events::Events;
use pipeline::Pipeline;

/// Maximum packets of a socket that are read before the sinks write.
const BATCH: usize = 256;
/// Time at the end for sinks whose reader is slow.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// Time for which an output that was shut down is not read.
const PAUSE: Duration = Duration::from_millis(50);
/// The thread continues after as many panics.
const MAX_PANICS: usize = 10;

/// A command to the thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Reopen,
    Rotate,
    Finish,
}

/// The running thread, as the rest of the process sees it.
struct Handle {
    thread: JoinHandle<()>,
    commands: Sender<Command>,
    wakeup: OwnedWakeup,
    original: OwnedFd,
}

type OwnedWakeup = std::sync::Arc<Wakeup>;

static HANDLE: Mutex<Option<Handle>> = Mutex::new(None);

/// Starts the thread. From now on all lines of this process and of its children pass through it.
///
/// To be called after the last change of the user, because its files belong to the user of the thread.
///
/// # Errors
/// When a sink cannot be opened, with its name; those of the sockets and the thread.
pub(crate) fn start(settings: LogThreadSettings) -> io::Result<()> {
    let original = stdio::stderr_again()?;
    let boundaries = match settings.stream {
        true => Boundaries::Lost,
        false => Boundaries::Kept,
    };
    let pipeline = Pipeline::open(&settings, &original)?;
    let (output, output_writer) = log_socket::pair(boundaries)?;
    let (records, records_writer) = log_socket::pair(Boundaries::Kept)?;
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
    };
    *HANDLE.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
    Ok(())
}

/// Whether the thread runs.
pub(crate) fn is_running() -> bool {
    HANDLE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_some()
}

/// Opens all log files again.
pub(crate) fn reopen() {
    command(Command::Reopen);
}

/// Rotates all log files.
pub(crate) fn rotate() {
    command(Command::Rotate);
}

/// A descriptor for the output of processes that outlive this one.
///
/// # Errors
/// Those of fcntl(2).
pub(crate) fn lasting_output() -> io::Result<OwnedFd> {
    match &*HANDLE.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(handle) => handle.original.try_clone(),
        None => stdio::stderr_again(),
    }
}

/// Writes what is left and ends the thread; the log of this process goes to its former place again.
pub(crate) fn finish() {
    let handle = HANDLE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(handle) = handle else { return };
    process_channel::close();
    if handle.commands.send(Command::Finish).is_ok() {
        handle.wakeup.wake();
        // a panic was logged
        let _ = handle.thread.join();
    }
    // a failure means that descriptor 2 stays the socket, which nobody reads
    let _ = stdio::write_output_to(&handle.original);
}

fn command(command: Command) {
    if let Some(handle) = &*HANDLE.lock().unwrap_or_else(PoisonError::into_inner)
        && handle.commands.send(command).is_ok()
    {
        handle.wakeup.wake();
    }
}

/// What the thread works with.
struct Reader {
    output: OwnedFd,
    records: OwnedFd,
    wakeup: OwnedWakeup,
    commands: Receiver<Command>,
    events: Events,
    pipeline: Pipeline,
    buffer: Vec<u8>,
    /// The output is not waited for until then: the application has shut it down, so that it is always ready.
    ignored_until: Option<Instant>,
}

fn run(mut reader: Reader) {
    process_channel::become_reader();
    for _ in 0..MAX_PANICS {
        // an event that makes it panic is lost; the others are not
        if catch_unwind(AssertUnwindSafe(|| reader.serve())).is_ok() {
            return;
        }
    }
}

impl Reader {
    /// Distributes lines until the command to finish.
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
            // no memory in the kernel: it is temporary
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Reads what has arrived, up to a limit; false if there was nothing.
    ///
    /// What the application writes during a request precedes the line of the request: the records are taken first, and
    /// written after the output that was there by then.
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
            // an empty packet has the id of its process
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

    /// Gives slow readers of the sinks a moment for the last lines.
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
