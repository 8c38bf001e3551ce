//! Functions of the module `uwsgi` that concern the current request of the calling thread.

use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use pyo3::exceptions::{PyBrokenPipeError, PyOSError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyModule};
use ruwsgi::http::response::Response;
use ruwsgi::http::response_writer::PeerGone;
use ruwsgi::log::request_log::log_variable;
use ruwsgi::sys::clock::monotonic_micros;
use ruwsgi::sys::{connected, fork_guard};

use super::signals;
use crate::worker::Worker;
use crate::wsgi::responder::Gil;

/// Maximum number of bytes that `chunked_read` returns at once.
const CHUNK: usize = 64 << 10;

/// Adds the functions of this file to the module `uwsgi`.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter.
pub fn install(uwsgi: &Bound<'_, PyModule>) -> PyResult<()> {
    for function in [
        wrap_pyfunction!(connection_fd, uwsgi)?,
        wrap_pyfunction!(is_connected, uwsgi)?,
        wrap_pyfunction!(disconnect, uwsgi)?,
        wrap_pyfunction!(chunked_read, uwsgi)?,
        wrap_pyfunction!(chunked_read_nb, uwsgi)?,
        wrap_pyfunction!(sendfile, uwsgi)?,
        wrap_pyfunction!(set_user_harakiri, uwsgi)?,
        wrap_pyfunction!(set_logvar, uwsgi)?,
        wrap_pyfunction!(get_logvar, uwsgi)?,
        wrap_pyfunction!(add_var, uwsgi)?,
        wrap_pyfunction!(cl, uwsgi)?,
    ] {
        uwsgi.add_function(function)?;
    }
    Ok(())
}

/// The worker and the number of the serving thread whose request calls a function of this file.
struct Current {
    worker: &'static Arc<Worker>,
    core: u32,
}

impl Current {
    /// Finds the request of the calling thread.
    fn of(function: &str) -> PyResult<Self> {
        let outside =
            || PyRuntimeError::new_err(format!("uwsgi.{function} works within a request only"));
        if fork_guard::is_forked() {
            return Err(outside());
        }
        let worker = signals::worker().ok_or_else(outside)?;
        let core = worker.serving_thread().ok_or_else(outside)?;
        let current = Self { worker, core };
        match current.respond(|response| response.is_in_request())? {
            true => Ok(current),
            false => Err(outside()),
        }
    }

    /// Calls `act` with the response of the request.
    fn respond<T>(&self, act: impl FnOnce(&mut Response) -> T) -> PyResult<T> {
        match self.worker.engine.response(self.core).try_lock() {
            Some(mut response) => Ok(act(&mut response)),
            None => Err(PyRuntimeError::new_err(
                "another thread uses the response of this request",
            )),
        }
    }

    /// The environ of this request.
    fn environ<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let environ = self.worker.environs[self.core as usize].get(py);
        environ.ok_or_else(|| PyRuntimeError::new_err("the request has ended"))
    }
}

/// The environ of the calling thread's current request (`uwsgi.env`).
///
/// # Errors
/// RuntimeError outside of a request.
pub fn environ(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    Current::of("env")?.environ(py)
}

/// The descriptor of the client's connection.
#[pyfunction]
fn connection_fd() -> PyResult<RawFd> {
    Current::of("connection_fd")?.respond(|response| response.descriptor())
}

/// Whether a socket is connected, and its peer has not closed the connection.
#[pyfunction]
fn is_connected(fd: RawFd) -> bool {
    connected::is_connected(fd)
}

/// Completes the response and closes the connection. The application continues to run.
#[pyfunction]
fn disconnect(py: Python<'_>) -> PyResult<()> {
    let current = Current::of("disconnect")?;
    current.respond(|response| response.disconnect(&Gil(py)))
}

/// The next part of the request body, at most 64 KiB; empty at the end. The body is complete before the application is
/// called, so the call does not wait, and the timeout has no effect.
#[pyfunction]
#[pyo3(signature = (timeout=0, /))]
fn chunked_read(py: Python<'_>, timeout: i64) -> PyResult<Bound<'_, PyAny>> {
    let _ = timeout;
    let environ = Current::of("chunked_read")?.environ(py)?;
    match environ.get_item("wsgi.input")? {
        Some(input) => input.call_method1("read", (CHUNK,)),
        None => Ok(PyBytes::new(py, b"").into_any()),
    }
}

/// Does the same as `chunked_read`.
#[pyfunction]
fn chunked_read_nb(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    chunked_read(py, 0)
}

/// Sends a file, or a part of it, as the body of the response. `chunk` has no effect, because the kernel sends the file.
#[pyfunction]
#[pyo3(signature = (file, chunk=0, pos=0, size=0, /))]
fn sendfile(
    py: Python<'_>,
    file: &Bound<'_, PyAny>,
    chunk: u64,
    pos: u64,
    size: u64,
) -> PyResult<bool> {
    let _ = chunk;
    let current = Current::of("sendfile")?;
    let file = open(file)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(PyOSError::new_err("unable to sendfile: not a regular file"));
    }
    let left = meta.len().saturating_sub(pos);
    let len = if size == 0 { left } else { size.min(left) };
    let sent = current.respond(|response| {
        if !response.head.is_started() {
            return Err(PyRuntimeError::new_err(
                "sendfile was called before start_response",
            ));
        }
        if !response.is_open() {
            return Err(PyRuntimeError::new_err(
                "sendfile was called after the end of the response",
            ));
        }
        // `write_file` sends a whole body; here more may follow, so no length is announced
        response
            .append_file(&Gil(py), file, pos, len)
            .map_err(|PeerGone| PyBrokenPipeError::new_err("write error: the client is gone"))
    })?;
    sent.map(|()| true)
}

/// Opens a path, or duplicates the descriptor of an open file.
fn open(file: &Bound<'_, PyAny>) -> PyResult<File> {
    if let Ok(path) = file.extract::<std::path::PathBuf>() {
        return Ok(File::open(path)?);
    }
    let fd: RawFd = match file.getattr_opt("fileno")? {
        Some(fileno) => fileno.call0()?.extract()?,
        None => file.extract().map_err(|_| {
            PyTypeError::new_err("sendfile needs a path, a descriptor or an open file")
        })?,
    };
    if fd < 0 {
        return Err(PyValueError::new_err("unable to sendfile: no descriptor"));
    }
    // SAFETY: the descriptor is only duplicated; dup fails if it is not open.
    let copy: OwnedFd = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?;
    Ok(File::from(copy))
}

/// Sets a deadline for the request, in seconds from now. 0 removes the deadline.
#[pyfunction]
fn set_user_harakiri(py: Python<'_>, seconds: u64) -> PyResult<()> {
    let current = Current::of("set_user_harakiri")?;
    let (worker, core) = (current.worker, current.core);
    let deadline = match seconds {
        0 => 0,
        seconds => monotonic_micros().saturating_add(seconds.saturating_mul(1_000_000)),
    };
    worker.engine.set_deadline(core, deadline);
    if deadline == 0 {
        return Ok(());
    }
    crate::deadline::prepare_late(py, worker, core);
    worker.deadlines[core as usize].enter(worker.engine.busy_since(core));
    worker.send(&ruwsgi::ipc::FromWorker::Deadline {
        seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
    });
    Ok(())
}

/// The bytes of a name or value that the application gives as str or bytes.
fn bytes(value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    const MAX: usize = 64 << 10;
    let bytes = match value.cast::<PyBytes>() {
        Ok(bytes) => bytes.as_bytes().to_vec(),
        Err(_) => value.extract::<String>()?.into_bytes(),
    };
    match bytes.len() <= MAX {
        true => Ok(bytes),
        false => Err(PyValueError::new_err("the text is longer than 64 KiB")),
    }
}

fn set(current: &Current, name: Vec<u8>, value: Vec<u8>) -> PyResult<()> {
    const MOST: usize = 128;
    let added = current.respond(|response| {
        let variables = &mut response.collected;
        if let Some((_, known)) = variables.iter_mut().find(|(known, _)| *known == name) {
            *known = value;
        } else if variables.len() < MOST {
            variables.push((name, value));
        } else {
            return false;
        }
        true
    })?;
    match added {
        true => Ok(()),
        false => Err(PyValueError::new_err(
            "the request has 128 variables already",
        )),
    }
}

/// Sets a variable for the request log. `log-format` shows it by `%(NAME)`.
#[pyfunction]
fn set_logvar(name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let current = Current::of("set_logvar")?;
    set(&current, log_variable(&bytes(name)?), bytes(value)?)
}

/// The value that `set_logvar` has set, as bytes; `None` if no value was set.
#[pyfunction]
fn get_logvar<'py>(
    py: Python<'py>,
    name: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let current = Current::of("get_logvar")?;
    let name = log_variable(&bytes(name)?);
    current.respond(|response| {
        let variables = response.collected.iter();
        let mut found = variables.filter(|(known, _)| *known == name);
        found.next().map(|(_, value)| PyBytes::new(py, value))
    })
}

/// Sets a variable of the request for the request log. `log-format` shows it by `%(var.NAME)`.
#[pyfunction]
fn add_var(name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let current = Current::of("add_var")?;
    set(&current, bytes(name)?, bytes(value)?)?;
    Ok(true)
}

/// The length of the request body.
#[pyfunction]
fn cl(py: Python<'_>) -> PyResult<u64> {
    let length = Current::of("cl")?.environ(py)?.get_item("CONTENT_LENGTH")?;
    let length = length.and_then(|length| length.extract::<String>().ok());
    Ok(length.and_then(|text| text.parse().ok()).unwrap_or(0))
}
