//! The signals of the module `uwsgi`: registration, timers, and the calls of the handlers.

use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PySystemExit, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyModule, PyTuple};
use ruwsgi::ipc::{MAX_TRIGGERS, SignalRequest, SignalTarget};
use ruwsgi::shared::running_signal::{RunningSignal, ThreadPlace};
use ruwsgi::shared::scoreboard::Scoreboard;
use ruwsgi::sys::fork_guard;

use super::master::send_signal_request;
use crate::worker::Worker;
use crate::{fork, python};

/// The handlers of this process, by the numbers of their signals. A worker inherits the handlers of the zygote.
static HANDLERS: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
/// The number of timers, cron entries and watched files that this process has added or inherited from its zygote.
static ADDED: Mutex<Added> = Mutex::new(Added {
    timers: 0,
    crons: 0,
    watches: 0,
});
/// The worker that runs in this process; not set in the zygote.
static WORKER: OnceLock<Arc<Worker>> = OnceLock::new();
/// Wakes the threads that wait for a signal (`uwsgi.signal_wait`). The number counts the wake-ups.
static ARRIVED: (Mutex<u64>, Condvar) = (Mutex::new(0), Condvar::new());

/// Interval at which a thread that waits for a signal runs the handlers of Unix signals.
const CHECK: Duration = Duration::from_millis(200);

/// The scoreboard and the row of the mule that this process is.
static MULE: OnceLock<(Arc<Scoreboard>, u32)> = OnceLock::new();

thread_local! {
    /// The signal that `uwsgi.signal_wait` has received last in this thread.
    static RECEIVED: std::cell::Cell<u8> = const { std::cell::Cell::new(0) };
}

/// The number of triggers of each kind.
struct Added {
    timers: usize,
    crons: usize,
    watches: usize,
}

/// Adds the functions for signals to the module `uwsgi`.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter.
pub fn install(uwsgi: &Bound<'_, PyModule>) -> PyResult<()> {
    for function in [
        wrap_pyfunction!(register_signal, uwsgi)?,
        wrap_pyfunction!(signal_registered, uwsgi)?,
        wrap_pyfunction!(signal, uwsgi)?,
        wrap_pyfunction!(signal_wait, uwsgi)?,
        wrap_pyfunction!(signal_received, uwsgi)?,
        wrap_pyfunction!(add_timer, uwsgi)?,
        wrap_pyfunction!(add_rb_timer, uwsgi)?,
        wrap_pyfunction!(add_cron, uwsgi)?,
        wrap_pyfunction!(add_file_monitor, uwsgi)?,
    ] {
        uwsgi.add_function(function)?;
    }
    Ok(())
}

/// Records the worker that runs in this process.
pub fn become_worker(worker: &Arc<Worker>) {
    // in a process that the application has forked, `set` fails; such a process receives no signals
    let _ = WORKER.set(worker.clone());
}

/// Records the scoreboard and the row of the mule that this process is.
pub fn become_mule(board: &Arc<Scoreboard>, row: u32) {
    // a process becomes a mule once
    let _ = MULE.set((board.clone(), row));
}

/// Runs the handlers of all signals that wait for this mule.
///
/// # Errors
/// SystemExit, if a handler raises it.
pub fn run_all_in_mule(py: Python<'_>) -> PyResult<()> {
    while run_in_mule(py)?.is_some() {}
    Ok(())
}

/// Runs the handler of one signal that waits for this mule, and returns the number of the signal.
fn run_in_mule(py: Python<'_>) -> PyResult<Option<u8>> {
    let Some((board, row)) = MULE.get() else {
        return Ok(None);
    };
    let place = ThreadPlace {
        row: *row,
        thread: 0,
    };
    let handlers = handlers(py);
    let Some(signal) = board.begin_signal(place, false, |number| has(handlers, number)) else {
        return Ok(None);
    };
    let called = call_handler(handlers, signal.number);
    fork::end_child(py, called.as_ref().err());
    board.end_signal(place, &signal);
    if let Err(error) = called {
        if error.is_instance_of::<PySystemExit>(py) {
            return Err(error);
        }
        let heading = format!("exception in the handler of signal {}", signal.number);
        let traceback = python::traceback(py, &error);
        ruwsgi::log::block(tracing::Level::ERROR, &heading, &traceback);
    }
    Ok(Some(signal.number))
}

/// The worker that this process is; `None` in another process.
pub fn worker() -> Option<&'static Arc<Worker>> {
    WORKER.get()
}

/// Wakes the threads that wait for a signal, and requests that a serving thread runs the handlers. Called by the I/O
/// thread when the master has raised a signal.
pub fn arrived(worker: &Worker) {
    worker.engine.call_application();
    notify();
}

fn notify() {
    *ARRIVED.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    ARRIVED.1.notify_all();
}

/// Runs the handler of one waiting signal on the serving thread `core`, between two requests.
pub fn run_waiting(py: Python<'_>, worker: &Worker, core: u32) {
    let handlers = handlers(py);
    let engine = &worker.engine;
    let Some(signal) = engine.begin_signal(core, |number| has(handlers, number)) else {
        return;
    };
    if engine.has_signals() {
        engine.call_application();
        engine.wake();
    }
    let deadline = &worker.deadlines[core as usize];
    deadline.enter(signal.since);
    let called = call_handler(handlers, signal.number);
    fork::end_child(py, called.as_ref().err());
    deadline.leave(py);
    engine.end_signal(core, &signal);
    if let Err(error) = called {
        report(py, worker, &signal, &error);
    }
}

fn handlers(py: Python<'_>) -> &Bound<'_, PyDict> {
    HANDLERS
        .get_or_init(py, || PyDict::new(py).unbind())
        .bind(py)
}

fn has(handlers: &Bound<'_, PyDict>, number: u8) -> bool {
    handlers.contains(number).unwrap_or(false)
}

fn call_handler(handlers: &Bound<'_, PyDict>, number: u8) -> PyResult<()> {
    match handlers.get_item(number)? {
        Some(handler) => handler.call1((number,)).map(drop),
        None => Ok(()),
    }
}

fn report(py: Python<'_>, worker: &Worker, signal: &RunningSignal, error: &PyErr) {
    if error.is_instance_of::<PySystemExit>(py) {
        worker.request_exit();
    }
    ruwsgi::log::block(
        tracing::Level::ERROR,
        &format!(
            "worker {} (pid {}): exception in the handler of signal {}",
            worker.id,
            std::process::id(),
            signal.number
        ),
        &python::traceback(py, error),
    );
}

/// Converts the number of a signal. As in uWSGI, only the lowest eight bits are used.
fn number(number: i64) -> u8 {
    number.to_le_bytes()[0]
}

/// Registers a function as the handler of a signal, and the processes that run the handler.
#[pyfunction]
#[pyo3(signature = (signum, target, function, /, *_rest))]
fn register_signal(
    py: Python<'_>,
    signum: i64,
    target: &str,
    function: Py<PyAny>,
    _rest: &Bound<'_, PyTuple>,
) -> PyResult<()> {
    let number = number(signum);
    let handlers = handlers(py);
    if super::master::is_zygote() && has(handlers, number) {
        return Err(PyValueError::new_err(format!(
            "unable to register signal: signal {number} is registered already"
        )));
    }
    let target = SignalTarget::parse(target);
    if let SignalTarget::Unknown(name) = &target {
        tracing::warn!(
            "signal {number}: the target {name:?} is not known, so the signal has no effect"
        );
    }
    handlers.set_item(number, function)?;
    send_signal_request(py, SignalRequest::Register { number, target })
}

/// True if a signal has a handler in this process, else `None`.
#[pyfunction]
fn signal_registered(py: Python<'_>, signum: i64) -> Option<bool> {
    has(handlers(py), number(signum)).then_some(true)
}

/// Raises a signal.
#[pyfunction]
#[pyo3(signature = (signum, node=None, /))]
fn signal(py: Python<'_>, signum: i64, node: Option<&str>) -> PyResult<()> {
    if node.is_some_and(|node| !node.is_empty()) {
        return Err(PyValueError::new_err(
            "ruwsgi sends no signals to other hosts; send a request to the application there",
        ));
    }
    let number = number(signum);
    send_signal_request(py, SignalRequest::Raise { number })
}

/// Waits for a signal and runs its handler. With a number, waits for the signal with this number.
#[pyfunction]
#[pyo3(signature = (signum=None, /))]
fn signal_wait<'py>(py: Python<'py>, signum: Option<i64>) -> PyResult<Bound<'py, PyBytes>> {
    let wanted = signum.map(number);
    let Some(worker) = WORKER.get().filter(|_| !fork_guard::is_forked()) else {
        return Err(PyValueError::new_err("only a worker can wait for a signal"));
    };
    let core = worker.serving_thread().unwrap_or(0);
    loop {
        let seen = *ARRIVED.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(number) = run_in_wait(py, worker, core)? {
            RECEIVED.set(number);
            if wanted.is_none_or(|wanted| wanted == number) {
                return Ok(PyBytes::new(py, b""));
            }
        }
        py.check_signals()?;
        py.detach(|| wait_after(seen));
    }
}

/// Waits until the count of arrivals is higher than `seen`, at most for [`CHECK`].
fn wait_after(seen: u64) {
    let count = ARRIVED.0.lock().unwrap_or_else(PoisonError::into_inner);
    // the result is not needed, because the caller checks the counters of the signals
    let _ = ARRIVED
        .1
        .wait_timeout_while(count, CHECK, |count| *count == seen);
}

/// Runs the handler of a waiting signal inside of `signal_wait`, and returns the number of the signal.
fn run_in_wait(py: Python<'_>, worker: &Worker, core: u32) -> PyResult<Option<u8>> {
    let handlers = handlers(py);
    let engine = &worker.engine;
    let Some(signal) = engine.begin_signal(core, |number| has(handlers, number)) else {
        return Ok(None);
    };
    let called = call_handler(handlers, signal.number);
    engine.end_signal(core, &signal);
    if let Err(error) = called {
        // `uwsgi.Harakiri` is raised for the waiting request, not for the handler
        if crate::deadline::is_harakiri(py, &error) {
            return Err(error);
        }
        report(py, worker, &signal, &error);
    }
    Ok(Some(signal.number))
}

/// The number of the signal that `signal_wait` received most recently in this thread; 0 if it received none.
#[pyfunction]
fn signal_received() -> u8 {
    RECEIVED.get()
}

/// Counts a trigger that the application adds. Fails if the maximum number of triggers is exceeded.
fn count(kind: &str, choose: impl FnOnce(&mut Added) -> &mut usize) -> PyResult<()> {
    let mut added = ADDED.lock().unwrap_or_else(PoisonError::into_inner);
    let counter = choose(&mut added);
    if *counter >= MAX_TRIGGERS {
        return Err(PyValueError::new_err(format!(
            "unable to add {kind}: there are {MAX_TRIGGERS} already"
        )));
    }
    *counter += 1;
    Ok(())
}

fn milliseconds(seconds: i64) -> PyResult<u64> {
    match u64::try_from(seconds) {
        Ok(seconds @ 1..) => Ok(seconds.saturating_mul(1000)),
        _ => Err(PyValueError::new_err(format!(
            "unable to add timer: {seconds} seconds; write a number from 1"
        ))),
    }
}

/// Raises a signal at intervals of `seconds`.
#[pyfunction]
#[pyo3(signature = (signum, seconds, /))]
fn add_timer(py: Python<'_>, signum: i64, seconds: i64) -> PyResult<()> {
    add_rb_timer(py, signum, seconds, 0)
}

/// Raises a signal at intervals of `seconds`, at most `iterations` times. 0 iterations means no limit.
#[pyfunction]
#[pyo3(signature = (signum, seconds, iterations=0, /))]
fn add_rb_timer(py: Python<'_>, signum: i64, seconds: i64, iterations: i64) -> PyResult<()> {
    let every_ms = milliseconds(seconds)?;
    count("timer", |added| &mut added.timers)?;
    let request = SignalRequest::Timer {
        number: number(signum),
        every_ms,
        runs: u64::try_from(iterations).ok().filter(|runs| *runs > 0),
    };
    send_signal_request(py, request)
}

/// Raises a signal at times of the local clock. Each field is a value, -1 for any value, or -N for the multiples of N.
#[pyfunction]
#[pyo3(signature = (signum, *fields))]
fn add_cron(py: Python<'_>, signum: i64, fields: &Bound<'_, PyTuple>) -> PyResult<bool> {
    let Ok([minute, hour, day, month, week]) = fields.extract::<[i32; 5]>() else {
        return Err(PyTypeError::new_err(
            "add_cron needs a signal and five numbers: minute, hour, day, month, weekday",
        ));
    };
    count("cron", |added| &mut added.crons)?;
    let request = SignalRequest::Cron {
        number: number(signum),
        fields: [minute, hour, day, month, if week == 7 { 0 } else { week }],
    };
    send_signal_request(py, request)?;
    Ok(true)
}

/// Raises a signal when a file, or a file in a directory, changes.
#[pyfunction]
#[pyo3(signature = (signum, path, /))]
fn add_file_monitor(py: Python<'_>, signum: i64, path: std::path::PathBuf) -> PyResult<()> {
    const MAX_PATH: usize = 4096;
    let path = std::path::absolute(&path)?.into_os_string().into_string();
    let path = path
        .ok()
        .filter(|path| path.len() <= MAX_PATH)
        .ok_or_else(|| {
            PyValueError::new_err("unable to add file monitor: the path is not UTF-8 or too long")
        })?;
    count("file monitor", |added| &mut added.watches)?;
    let request = SignalRequest::Watch {
        number: number(signum),
        path,
    };
    send_signal_request(py, request)
}
