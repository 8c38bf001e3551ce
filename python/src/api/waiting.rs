//! Functions of the module `uwsgi` that wait for descriptors or for a time. A waiting thread does not hold the
//! interpreter.

use std::cell::{Cell, RefCell};
use std::os::fd::{BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyOSError, PyOverflowError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyModule};
use ruwsgi::sys::poll::{self, Interest};

/// Maximum number of descriptors that a thread can register.
const MOST: usize = 1024;

/// Interval at which a waiting thread runs the handlers of Unix signals.
const CHECK: Duration = Duration::from_millis(200);

/// A registered descriptor.
#[derive(Clone, Copy)]
struct Registered {
    fd: RawFd,
    interest: Interest,
    /// The time at which the wait for the descriptor ends; `None` without a timeout.
    until: Option<Instant>,
}

thread_local! {
    /// The descriptors that the next wait of this thread is for.
    static REGISTERED: RefCell<Vec<Registered>> = const { RefCell::new(Vec::new()) };
    /// The descriptor that was ready at the end of the last wait, or -1.
    static READY: Cell<RawFd> = const { Cell::new(-1) };
}

/// Adds the functions of this file to the module `uwsgi`.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter.
pub fn install(uwsgi: &Bound<'_, PyModule>) -> PyResult<()> {
    for function in [
        wrap_pyfunction!(wait_fd_read, uwsgi)?,
        wrap_pyfunction!(wait_fd_write, uwsgi)?,
        wrap_pyfunction!(ready_fd, uwsgi)?,
        wrap_pyfunction!(suspend, uwsgi)?,
        wrap_pyfunction!(green_schedule, uwsgi)?,
        wrap_pyfunction!(async_sleep, uwsgi)?,
    ] {
        uwsgi.add_function(function)?;
    }
    Ok(())
}

fn register(fd: RawFd, interest: Interest, timeout: f64) -> PyResult<()> {
    let until = Duration::try_from_secs_f64(timeout)
        .ok()
        .filter(|timeout| !timeout.is_zero())
        .and_then(|timeout| Instant::now().checked_add(timeout));
    REGISTERED.with_borrow_mut(|registered| {
        if fd < 0 || registered.len() >= MOST {
            return Err(PyOSError::new_err(format!("unable to wait for fd {fd}")));
        }
        registered.push(Registered {
            fd,
            interest,
            until,
        });
        Ok(())
    })
}

/// Registers a descriptor. The next `suspend` or `ready_fd` waits until the descriptor can be read, at most `timeout`
/// seconds; 0 means no limit.
#[pyfunction]
#[pyo3(signature = (fd, timeout=0.0, /))]
fn wait_fd_read(py: Python<'_>, fd: RawFd, timeout: f64) -> PyResult<Bound<'_, PyBytes>> {
    register(fd, Interest::Read, timeout)?;
    Ok(PyBytes::new(py, b""))
}

/// Registers a descriptor. The next `suspend` or `ready_fd` waits until the descriptor can be written to.
#[pyfunction]
#[pyo3(signature = (fd, timeout=0.0, /))]
fn wait_fd_write(py: Python<'_>, fd: RawFd, timeout: f64) -> PyResult<Bound<'_, PyBytes>> {
    register(fd, Interest::Write, timeout)?;
    Ok(PyBytes::new(py, b""))
}

/// Waits for the registered descriptors, and forgets them. If no descriptor is registered, only lets other threads run.
#[pyfunction]
fn suspend(py: Python<'_>) -> PyResult<bool> {
    let registered = REGISTERED.take();
    READY.set(-1);
    if registered.is_empty() {
        py.detach(std::thread::yield_now);
        return Ok(true);
    }
    let until = registered.iter().filter_map(|it| it.until).min();
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let wait = left.map_or(CHECK, |left| left.min(CHECK));
        let ready = py.detach(|| {
            let fds: Vec<_> = registered
                .iter()
                .map(|it| {
                    // SAFETY: poll(2) reports a descriptor that is not open, and touches nothing else.
                    (unsafe { BorrowedFd::borrow_raw(it.fd) }, it.interest)
                })
                .collect();
            poll::wait_for(&fds, Some(wait))
        })?;
        if let Some(first) = ready.first() {
            READY.set(registered[*first].fd);
            return Ok(true);
        }
        py.check_signals()?;
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(true);
        }
    }
}

/// Does the same as `suspend`.
#[pyfunction]
fn green_schedule(py: Python<'_>) -> PyResult<bool> {
    suspend(py)
}

/// The descriptor that has ended the last wait; -1 if the wait has timed out. If descriptors are registered, waits for
/// them first.
#[pyfunction]
fn ready_fd(py: Python<'_>) -> PyResult<RawFd> {
    if REGISTERED.with_borrow(|registered| !registered.is_empty()) {
        suspend(py)?;
    }
    Ok(READY.get())
}

/// Sleeps. Returns `b""`, so that a generator can yield the result. Raises `OverflowError` if the clock cannot hold the
/// time at which the sleep ends.
#[pyfunction]
fn async_sleep(py: Python<'_>, seconds: f64) -> PyResult<Bound<'_, PyBytes>> {
    // a negative time, and one that is not a number, are 0
    let until = Duration::try_from_secs_f64(seconds.max(0.0))
        .ok()
        .and_then(|time| Instant::now().checked_add(time))
        .ok_or_else(|| PyOverflowError::new_err("the time to sleep is too long"))?;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(PyBytes::new(py, b""));
        }
        py.detach(|| std::thread::sleep(left.min(CHECK)));
        py.check_signals()?;
    }
}
