//! Interrupts a request that has run for longer than `harakiri` allows. The master detects such a request and sends the
//! worker a message.
//!
//! 1. The I/O thread, which needs no interpreter, answers the client with 504.
//! 2. The request's thread gets the exception `uwsgi.Harakiri`. The main thread gets it from a signal handler in
//!    Python, which also ends a sleep, a wait for a peer or a regular expression. Other threads get it from
//!    `PyThreadState_SetAsyncExc`, which takes effect at their next step in Python.
//! 3. The stacks of all threads go to the log.
//!
//! If the request still does not end, the master kills the worker.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use pyo3::exceptions::PyBaseException;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCFunction, PyModule, PyTuple, PyType};
use ruwsgi::http::io_thread::INTERRUPT;
use ruwsgi::sys::clock::monotonic_micros;
use ruwsgi::sys::thread;

use crate::stacks;
use crate::worker::Worker;

/// The exception `uwsgi.Harakiri`.
static HARAKIRI: PyOnceLock<Py<PyType>> = PyOnceLock::new();
/// Whether [`prepare`] has installed its signal handlers.
static INSTALLED: AtomicBool = AtomicBool::new(false);
/// Whether a request has expired since the handler of `harakiri-graceful-signal` was called last.
static GRACEFUL_DUE: AtomicBool = AtomicBool::new(false);
/// Whether the handler of `harakiri-graceful-signal` is running.
static IN_HANDLER: AtomicBool = AtomicBool::new(false);
/// Time of the last stack dump, microseconds of the monotonic clock.
static LAST_STACKS: AtomicU64 = AtomicU64::new(0);

/// Maximum time to wait for the interpreter. After this time `faulthandler` writes the stacks, which needs no
/// interpreter.
const INTERPRETER_TIMEOUT: Duration = Duration::from_millis(400);
/// Minimum interval between two stack dumps, microseconds.
const STACKS_INTERVAL: u64 = 1_000_000;

/// Python function that formats the stacks of all threads except the calling thread, whose identifier is `own`.
/// `marked` is the thread whose request has expired; the function marks it.
const FORMAT_STACKS: &str = r#"
def stacks(marked, own):
    import sys, threading, traceback
    names = {ident: thread.name for ident, thread in list(threading._active.items())}
    text = []
    for ident, frame in sys._current_frames().items():
        if ident != own:
            mark = " (its request has expired)" if ident == marked else ""
            text.append("Thread %s%s, most recent call last:\n" % (names.get(ident, ident), mark))
            text.extend(traceback.format_stack(frame)[-60:])
    return "".join(text)
"#;

/// The signal whose handler raises `uwsgi.Harakiri` in the main thread.
fn raise_signal() -> i32 {
    thread::first_realtime_signal() + 5
}

/// The signal on which `faulthandler` writes the stacks of all threads.
fn dump_signal() -> i32 {
    thread::first_realtime_signal() + 6
}

/// A request that has expired.
#[derive(Clone, Copy)]
struct Expired {
    /// Number of the request's serving thread.
    core: u32,
    /// Start of the request: `busy_since` of the thread's row on the scoreboard.
    begun: u64,
}

/// Adds the exception `uwsgi.Harakiri` to the module `uwsgi`.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter.
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

/// Whether an exception is `uwsgi.Harakiri`.
pub fn is_harakiri(py: Python<'_>, error: &PyErr) -> bool {
    HARAKIRI
        .get(py)
        .is_some_and(|class| error.is_instance(py, class.bind(py)))
}

/// Installs the signal handlers of this file, if `harakiri` is set. Call it on the worker's main thread, because
/// `signal.signal` works only there.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter.
pub fn prepare(py: Python<'_>, worker: &Arc<Worker>) -> PyResult<()> {
    match worker.spec.has_deadline() {
        true => install(py, worker),
        false => Ok(()),
    }
}

/// Installs the signal handlers of this file, because the application has set a deadline for a request of the thread
/// `core`. Only the main thread can install them. Without the handlers, the deadline cannot end a system call of the
/// request.
pub fn prepare_late(py: Python<'_>, worker: &Arc<Worker>, core: u32) {
    if core == 0
        && !INSTALLED.load(SeqCst)
        && let Err(error) = install(py, worker)
    {
        tracing::warn!(
            "worker {}: set_user_harakiri cannot interrupt requests: {error}",
            worker.id
        );
    }
}

fn install(py: Python<'_>, worker: &Arc<Worker>) -> PyResult<()> {
    stacks::write_on_signal(py, dump_signal())?;
    let worker = worker.clone();
    let handler = PyCFunction::new_closure(py, None, None, move |args, _| -> PyResult<()> {
        let py = args.py();
        if IN_HANDLER.load(SeqCst) {
            // the handler of `harakiri-graceful-signal` is still running; the outer call raises the exception after it
            return Ok(());
        }
        if let Some(number) = worker.spec.worker.harakiri_graceful_signal
            && GRACEFUL_DUE.swap(false, SeqCst)
        {
            call_handler(py, number, args)?;
        }
        if worker.deadlines[0].take_expired() {
            return Err(error(py));
        }
        Ok(())
    })?;
    py.import("signal")?
        .call_method1("signal", (raise_signal(), handler))?;
    INSTALLED.store(true, SeqCst);
    Ok(())
}

/// Calls the application's handler of the signal `number` (`harakiri-graceful-signal`) on the main thread. `args` are
/// the arguments of the running signal handler: the number of the signal that has interrupted the thread, and the
/// thread's frame.
fn call_handler(py: Python<'_>, number: u32, args: &Bound<'_, PyTuple>) -> PyResult<()> {
    let handler = py.import("signal")?.call_method1("getsignal", (number,))?;
    // without a handler of the application, `getsignal` returns SIG_DFL or SIG_IGN, which are numbers
    if !handler.is_callable() {
        return Ok(());
    }
    IN_HANDLER.store(true, SeqCst);
    let called = handler.call1((number, args.get_item(1)?));
    IN_HANDLER.store(false, SeqCst);
    called.map(drop)
}

/// Removes the signal handlers that [`prepare`] has installed. Runs in a child that the application has forked.
pub fn forget(py: Python<'_>) {
    if !INSTALLED.swap(false, SeqCst) {
        return;
    }
    stacks::forget_signal(py, dump_signal());
    if let Ok(signal) = py.import("signal") {
        // a failure leaves a handler that does nothing
        let _ = signal.call_method1("signal", (raise_signal(), libc::SIG_DFL));
    }
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

/// Answers an expired request with 504, and starts a thread that interrupts the application. The request is the one
/// that thread `core` began at `begun`. There is no 504 if another thread has locked the response. Does nothing if the
/// request has ended. The I/O thread calls this function.
pub fn expire(worker: &Arc<Worker>, core: u32, begun: u64) {
    let Some(deadline) = worker.deadlines.get(core as usize) else {
        return;
    };
    let is_current = || worker.engine.busy_since(core) == begun;
    // a thread that runs the handler of a signal has no client
    if !worker.engine.runs_signal(core)
        && let Some(mut response) = worker.engine.response(core).try_lock()
        && is_current()
    {
        response.cut_off(504, "Gateway Timeout");
    }
    if !is_current() {
        return;
    }
    deadline.expire(begun);
    GRACEFUL_DUE.store(true, SeqCst);
    let worker = worker.clone();
    let started = std::thread::Builder::new()
        .name("harakiri".into())
        .spawn(move || interrupt(&worker, Expired { core, begun }));
    if let Err(error) = started {
        tracing::error!("cannot start a thread to interrupt an expired request: {error}");
    }
}

/// Raises `uwsgi.Harakiri` in the request's thread and logs the stacks. If the interpreter is not available within
/// `INTERPRETER_TIMEOUT`, `faulthandler` writes the stacks.
fn interrupt(worker: &Arc<Worker>, request: Expired) {
    let writes_stacks = is_time_for_stacks();
    let (sender, stacks) = mpsc::channel();
    let attached = worker.clone();
    let started = std::thread::Builder::new().spawn(move || {
        Python::try_attach(|py| {
            let text = writes_stacks.then(|| format_stacks(py, &attached, request.core));
            raise(py, &attached, request);
            // after the timeout nothing receives the text, and the text is dropped
            let _ = sender.send(text);
        });
    });
    if started.is_err() {
        return;
    }
    match stacks.recv_timeout(INTERPRETER_TIMEOUT) {
        Ok(Some(Ok(text))) => {
            stacks::keep(&text);
            log_stacks(worker, "stacks of its threads", &text);
        }
        Ok(Some(Err(error))) => tracing::warn!("cannot format the stacks of the threads: {error}"),
        Ok(None) => {}
        Err(_) => {
            if writes_stacks {
                let text = stacks::dump(dump_signal());
                log_stacks(
                    worker,
                    "stacks of its threads, one of which holds the interpreter in native code (most recent call first)",
                    text.as_deref().unwrap_or("not available"),
                );
            }
            report_stuck(worker, request.core);
        }
    }
    let deadline = &worker.deadlines[request.core as usize];
    let graceful = request.core != 0
        && worker.spec.worker.harakiri_graceful_signal.is_some()
        && uses_signal(0);
    if graceful || (uses_signal(request.core) && deadline.is_serving(request.begun)) {
        worker.engine.signal(0, raise_signal());
    }
}

/// Whether `STACKS_INTERVAL` has passed since the last stack dump. If so, records the current time as the time of the
/// last dump.
fn is_time_for_stacks() -> bool {
    let now = monotonic_micros();
    let last = LAST_STACKS.load(SeqCst);
    now > last + STACKS_INTERVAL
        && LAST_STACKS
            .compare_exchange(last, now, SeqCst, SeqCst)
            .is_ok()
}

/// Retires the worker, because native code holds its interpreter. Each request that other threads accept now would also
/// wait for the interpreter. Does nothing if the main thread serves a request and has the signal handler, because the
/// signal may still interrupt the native code.
fn report_stuck(worker: &Worker, core: u32) {
    let signal_may_help = uses_signal(0) && !worker.deadlines[0].is_serving(0);
    if core != 0 && !signal_may_help {
        worker.exit_reasons.stuck_thread.store(core, SeqCst);
        worker.engine.wake();
    }
}

/// Whether thread `core` gets the exception from a signal handler: true for the main thread (0), if the handler is
/// installed.
fn uses_signal(core: u32) -> bool {
    core == 0 && thread::handles(raise_signal())
}

fn log_stacks(worker: &Worker, what: &str, text: &str) {
    let heading = format!("worker {} (pid {}): {what}:", worker.id, std::process::id());
    ruwsgi::log::block(tracing::Level::ERROR, &heading, text);
}

fn format_stacks(py: Python<'_>, worker: &Worker, core: u32) -> PyResult<String> {
    let code = std::ffi::CString::new(FORMAT_STACKS)?;
    let module = PyModule::from_code(py, &code, c"<ruwsgi>/stacks.py", c"_ruwsgi_stacks")?;
    let marked = worker.deadlines[core as usize].ident();
    // SAFETY: PyThread_get_thread_ident has no preconditions.
    let own = unsafe { ffi::PyThread_get_thread_ident() };
    module.call_method1("stacks", (marked, own))?.extract()
}

/// Raises `uwsgi.Harakiri` in a thread to which `uses_signal` does not apply, if the thread still serves `request`. The
/// calling thread must be attached to the interpreter.
fn raise(py: Python<'_>, worker: &Worker, request: Expired) {
    let deadline = &worker.deadlines[request.core as usize];
    if uses_signal(request.core) || !deadline.is_serving(request.begun) {
        return;
    }
    let Ok(class) = exception(py) else { return };
    // SAFETY: the calling thread is attached, so the serving thread cannot leave the request meanwhile; the class is a
    // live exception type.
    unsafe { ffi::PyThreadState_SetAsyncExc(deadline.ident() as _, class.as_ptr()) };
    // a pending Python exception cannot end a system call, but a signal can
    worker.engine.signal(request.core, INTERRUPT);
}
