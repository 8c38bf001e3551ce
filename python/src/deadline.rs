//! The end of a request that has run for too long (`harakiri`), as the master has judged it.
//!
//! Its client is answered at once, by a thread that needs no interpreter. Its thread gets an exception: the main
//! thread by a signal with a handler in Python, which also ends a sleep, a wait for a peer or a regular expression;
//! other threads by `PyThreadState_SetAsyncExc`, which reaches them only at their next step in Python. The stacks
//! of all threads go to the log. What that does not bring back, the master kills.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use pyo3::exceptions::PyBaseException;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCFunction, PyModule, PyType};
use ruwsgi::sys::clock::monotonic_micros;
use ruwsgi::sys::{stream, thread};

use crate::exchange::Exchange;
use crate::outlet::Flow;
use crate::responder::Responder;
use crate::stacks;
use crate::worker::Worker;

/// The exception, `uwsgi.Harakiri`.
static HARAKIRI: PyOnceLock<Py<PyType>> = PyOnceLock::new();
/// When the stacks were written last, microseconds of the monotonic clock.
static LAST_STACKS: AtomicU64 = AtomicU64::new(0);

/// How long the interpreter is waited for before the stacks are taken without it.
const WAIT_FOR_INTERPRETER: Duration = Duration::from_millis(400);
/// The stacks are not written again within this time, microseconds.
const STACKS_PAUSE: u64 = 1_000_000;

/// Formats the stacks of all threads; called attached.
const STACKS: &str = r#"
def stacks(marked, own):
    import sys, threading, traceback
    names = {ident: thread.name for ident, thread in list(threading._active.items())}
    text = []
    for ident, frame in sys._current_frames().items():
        if ident != own:
            mark = " (the one that is given up)" if ident == marked else ""
            text.append("Thread %s%s, most recent call last:\n" % (names.get(ident, ident), mark))
            text.extend(traceback.format_stack(frame)[-60:])
    return "".join(text)
"#;

/// A signal for the main thread: raise the exception.
fn raise_signal() -> i32 {
    thread::first_realtime_signal() + 5
}

/// A signal for faulthandler: write all stacks.
fn dump_signal() -> i32 {
    thread::first_realtime_signal() + 6
}

/// What it takes to end a thread's request from outside.
#[derive(Default)]
pub struct Sentence {
    /// Python's number of the thread.
    ident: AtomicU64,
    /// When the request began that the application works on; 0 when there is none. Changes only while attached.
    serving: AtomicU64,
    /// The request whose deadline has passed.
    expired: AtomicU64,
    responder: OnceLock<Py<Responder>>,
}

impl Sentence {
    /// The calling thread serves with this answer from now on.
    pub fn accompany(&self, py: Python<'_>, responder: &Py<Responder>) {
        // SAFETY: no preconditions.
        let ident = unsafe { ffi::PyThread_get_thread_ident() };
        self.ident.store(ident, SeqCst);
        // a thread has one answer for its life
        let _ = self.responder.set(responder.clone_ref(py));
    }

    /// The application is called.
    pub fn enter(&self, worker: &Worker, core: u32) {
        if worker.spec.serving.harakiri {
            let since = worker.board.thread(worker.row, core);
            self.serving
                .store(since.map_or(0, |row| row.busy_since.load(SeqCst)), SeqCst);
        }
    }

    /// The application has returned; an exception that has not reached it must not reach the next request.
    pub fn leave(&self, _py: Python<'_>) {
        let since = self.serving.swap(0, SeqCst);
        if since != 0 && self.expired.swap(0, SeqCst) == since {
            // SAFETY: attached; null takes back what is pending.
            unsafe {
                ffi::PyThreadState_SetAsyncExc(self.ident.load(SeqCst) as _, std::ptr::null_mut())
            };
        }
    }

    /// Whether the application works on a request whose deadline has passed, asked for the first time.
    fn take_expired(&self) -> bool {
        let since = self.serving.load(SeqCst);
        since != 0
            && self
                .expired
                .compare_exchange(since, 0, SeqCst, SeqCst)
                .is_ok()
    }
}

/// Makes the exception known to applications.
///
/// # Errors
/// Those of the interpreter.
pub fn add_exception(py: Python<'_>, uwsgi: &Bound<'_, PyModule>) -> PyResult<()> {
    uwsgi.add("Harakiri", exception(py)?.clone_ref(py))
}

fn exception(py: Python<'_>) -> PyResult<&Py<PyType>> {
    HARAKIRI.get_or_try_init(py, || {
        let base = py.get_type::<PyBaseException>();
        PyErr::new_type(
            py,
            c"uwsgi.Harakiri",
            Some(c"The request has run for longer than harakiri allows."),
            Some(&base),
            None,
        )
    })
}

/// Whether an exception is this one.
pub fn is_harakiri(py: Python<'_>, error: &PyErr) -> bool {
    HARAKIRI
        .get(py)
        .is_some_and(|class| error.is_instance(py, class.bind(py)))
}

/// Sets up what the end of a request needs; on the worker's main thread.
///
/// # Errors
/// Those of the interpreter.
pub fn prepare(py: Python<'_>, worker: &Arc<Worker>) -> PyResult<()> {
    if !worker.spec.serving.harakiri {
        return Ok(());
    }
    stacks::write_upon(py, dump_signal())?;
    let on_main = worker.clone();
    let handler = PyCFunction::new_closure(py, None, None, move |args, _| -> PyResult<()> {
        let py = args.py();
        if on_main.seats[0].sentence.take_expired() {
            return Err(error(py));
        }
        Ok(())
    })?;
    py.import("signal")?
        .call_method1("signal", (raise_signal(), handler))?;
    Ok(())
}

fn error(py: Python<'_>) -> PyErr {
    match exception(py) {
        Ok(class) => PyErr::from_type(
            class.bind(py).clone(),
            "the request has run for longer than harakiri allows",
        ),
        Err(error) => error,
    }
}

/// The porter's: a request is over its deadline.
pub fn expire(worker: &Arc<Worker>, core: u32, since: u64) {
    let (Some(seat), Some(row)) = (
        worker.seats.get(core as usize),
        worker.board.thread(worker.row, core),
    ) else {
        return;
    };
    let is_current = || row.busy_since.load(SeqCst) == since;
    if let Some(responder) = seat.sentence.responder.get()
        && let Ok(mut exchange) = responder.get().exchange()
        && is_current()
    {
        answer(&mut exchange);
    }
    if !is_current() {
        return;
    }
    seat.sentence.expired.store(since, SeqCst);
    let worker = worker.clone();
    let started = std::thread::Builder::new()
        .name("harakiri".into())
        .spawn(move || end(&worker, core, since));
    if let Err(error) = started {
        tracing::error!("no thread could be started to end a request: {error}");
    }
}

/// Answers in the application's stead if nothing is out, and takes nothing from it any more.
fn answer(exchange: &mut Exchange) {
    if exchange.is_committed() || exchange.broken || !exchange.is_open() {
        return;
    }
    exchange.fail(504, "Gateway Timeout");
    let flow = exchange.settle();
    exchange.broken = true;
    if flow == Flow::Done {
        stream::shut_down_writing(exchange.fd);
    }
}

/// Raises the exception in the thread and writes the stacks; without the interpreter, if it cannot be had.
fn end(worker: &Arc<Worker>, core: u32, since: u64) {
    let now = monotonic_micros();
    let last = LAST_STACKS.load(SeqCst);
    let wanted = now > last + STACKS_PAUSE
        && LAST_STACKS
            .compare_exchange(last, now, SeqCst, SeqCst)
            .is_ok();
    let (teller, told) = mpsc::channel();
    let attached = worker.clone();
    let started = std::thread::Builder::new().spawn(move || {
        Python::try_attach(|py| {
            let text = wanted.then(|| formatted(py, &attached, core));
            raise(py, &attached, core, since);
            // who waited no longer has written them already
            let _ = teller.send(text);
        });
    });
    if started.is_err() {
        return;
    }
    match told.recv_timeout(WAIT_FOR_INTERPRETER) {
        Ok(Some(Ok(text))) => {
            stacks::keep(&text);
            write(worker, "the stacks of its threads", &text);
        }
        Ok(Some(Err(error))) => {
            tracing::warn!("the stacks of the threads could not be had: {error}");
        }
        Ok(None) => {}
        Err(_) => {
            if wanted {
                write(
                    worker,
                    "the stacks of its threads, one of which keeps the interpreter to itself in native code (most recent call first)",
                    &stacks::dump(dump_signal())
                        .unwrap_or_else(|| "they could not be had".to_owned()),
                );
            }
            give_up(worker, core);
        }
    }
    let seat = &worker.seats[core as usize];
    if by_signal(core) && seat.sentence.serving.load(SeqCst) == since {
        thread::signal(seat.tid.load(SeqCst), raise_signal());
    }
}

/// Nobody reaches the interpreter: whatever the other threads accepted now would wait with the one that keeps it. Only if
/// it is the main thread, a signal may end that yet.
fn give_up(worker: &Worker, core: u32) {
    let main = &worker.seats[0].sentence;
    if core != 0 && !(by_signal(0) && main.serving.load(SeqCst) != 0) {
        worker.stuck.store(core, SeqCst);
        worker.bell.ring();
    }
}

/// The main thread gets the exception from a signal's handler.
fn by_signal(core: u32) -> bool {
    core == 0 && thread::handles(raise_signal())
}

fn write(worker: &Worker, what: &str, text: &str) {
    let heading = format!(
        "worker {} (pid {}): {what}:",
        worker.slot,
        std::process::id()
    );
    ruwsgi::log::block(tracing::Level::ERROR, &heading, text);
}

fn formatted(py: Python<'_>, worker: &Worker, core: u32) -> PyResult<String> {
    let code = std::ffi::CString::new(STACKS)?;
    let module = PyModule::from_code(py, &code, c"<ruwsgi>/stacks.py", c"_ruwsgi_stacks")?;
    let marked = worker.seats[core as usize].sentence.ident.load(SeqCst);
    // SAFETY: no preconditions.
    let own = unsafe { ffi::PyThread_get_thread_ident() };
    module.call_method1("stacks", (marked, own))?.extract()
}

/// Raises the exception in a thread other than the main one, if it still serves that request. Called attached.
fn raise(py: Python<'_>, worker: &Worker, core: u32, since: u64) {
    let sentence = &worker.seats[core as usize].sentence;
    if by_signal(core) || sentence.serving.load(SeqCst) != since {
        return;
    }
    let Ok(class) = exception(py) else { return };
    // SAFETY: attached, so the thread cannot leave the request meanwhile; the class is a live exception type.
    unsafe { ffi::PyThreadState_SetAsyncExc(sentence.ident.load(SeqCst) as _, class.as_ptr()) };
    // out of a system call that an exception cannot end
    let tid = worker.seats[core as usize].tid.load(SeqCst);
    thread::signal(tid, crate::worker::KICK);
}
