//! `start_response` and the `write` it returns (PEP 3333), one pair per thread, used for each of its requests in turn.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use pyo3::exceptions::{
    PyAssertionError, PyBrokenPipeError, PyRuntimeError, PyTypeError, PyValueError,
};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::exchange::{Exchange, Sent};

/// How often, a millisecond apart, the end of a request tries to have its answer back.
const PATIENCE: u32 = 1000;

/// Holds the thread's answer; the application sees its two methods only.
#[pyclass(frozen, module = "_ruwsgi")]
pub struct Responder {
    exchange: Mutex<Exchange>,
}

impl Responder {
    /// One for a thread.
    pub fn new() -> Self {
        Self {
            exchange: Mutex::new(Exchange::default()),
        }
    }

    /// The answer, for a thread that is detached: it may wait.
    pub fn exchange_detached(&self) -> MutexGuard<'_, Exchange> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer, once the application has returned: the porter may be about to answer in its stead.
    ///
    /// # Errors
    /// `RuntimeError`, when the application has left a thread behind that keeps it.
    pub fn exchange_patiently(&self, py: Python<'_>) -> PyResult<MutexGuard<'_, Exchange>> {
        for _ in 0..PATIENCE {
            if let Ok(guard) = self.exchange() {
                return Ok(guard);
            }
            py.detach(|| std::thread::sleep(Duration::from_millis(1)));
        }
        self.exchange()
    }

    /// The answer. The lock is held across system calls without the interpreter, so nobody may wait for it while
    /// attached: whoever finds it taken uses another thread's answer, which is an error.
    ///
    /// # Errors
    /// `RuntimeError`.
    pub fn exchange(&self) -> PyResult<MutexGuard<'_, Exchange>> {
        match self.exchange.try_lock() {
            Ok(guard) => Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(PyRuntimeError::new_err(
                "start_response or write was called from two threads at once",
            )),
        }
    }
}

#[pymethods]
impl Responder {
    /// start_response(status, response_headers, exc_info=None) -> write
    #[pyo3(signature = (status, headers, exc_info=None))]
    fn start_response<'py>(
        slf: &Bound<'py, Self>,
        status: &Bound<'py, PyAny>,
        headers: &Bound<'py, PyAny>,
        exc_info: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut exchange = slf.get().exchange()?;
        if !exchange.is_open() {
            return Err(PyRuntimeError::new_err(
                "start_response was called after its request had ended",
            ));
        }
        match exc_info {
            Some(info) if exchange.is_committed() => return Err(reraise(info)?),
            Some(_) => {}
            None if exchange.head.started => {
                return Err(PyAssertionError::new_err(
                    "start_response was called a second time without exc_info",
                ));
            }
            None => {}
        }
        take_status(&mut exchange, status)?;
        if let Err(error) = take_headers(&mut exchange, headers) {
            exchange.head.forget();
            return Err(error);
        }
        drop(exchange);
        slf.getattr(pyo3::intern!(slf.py(), "write"))
    }

    /// write(data): sends a block at once.
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let data = data.cast::<PyBytes>().map_err(|_| wrong_block(data))?;
        let mut exchange = self.exchange()?;
        if !exchange.is_open() {
            return Err(PyRuntimeError::new_err(
                "write was called after its request had ended",
            ));
        }
        match exchange.block(py, data, false) {
            Sent::Yes => Ok(()),
            Sent::PeerGone => Err(PyBrokenPipeError::new_err("write error: the peer is gone")),
        }
    }
}

/// What is said of a block that is not `bytes`.
pub fn wrong_block(block: &Bound<'_, PyAny>) -> PyErr {
    let kind = block
        .get_type()
        .name()
        .map_or_else(|_| "?".into(), |name| name.to_string());
    PyTypeError::new_err(format!(
        "the application's body must consist of bytes, not {kind}"
    ))
}

fn reraise(info: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let value = info.get_item(1)?;
    if let Ok(traceback) = info.get_item(2)
        && !traceback.is_none()
    {
        value.setattr("__traceback__", traceback)?;
    }
    Ok(PyErr::from_value(value))
}

fn take_status(exchange: &mut Exchange, status: &Bound<'_, PyAny>) -> PyResult<()> {
    let text = status
        .cast::<PyString>()
        .map_err(|_| PyTypeError::new_err("http status must be a string"))?;
    with_latin1(text, |bytes| exchange.head.start(bytes))
        .ok_or_else(|| PyValueError::new_err("http status must be encodable in latin1"))?
        .map_err(|what| PyValueError::new_err(format!("http status {what}: {}", ascii(status))))
}

fn take_headers(exchange: &mut Exchange, headers: &Bound<'_, PyAny>) -> PyResult<()> {
    let list = headers
        .cast::<PyList>()
        .map_err(|_| PyTypeError::new_err("http headers must be in a python list"))?;
    for item in list.iter() {
        let pair = item
            .cast::<PyTuple>()
            .map_err(|_| PyTypeError::new_err("http header must be defined in a tuple"))?;
        if pair.len() != 2 {
            return Err(PyTypeError::new_err(
                "http header must be a tuple of a name and a value",
            ));
        }
        let (name, value) = (pair.get_item(0)?, pair.get_item(1)?);
        let name_text = name
            .cast::<PyString>()
            .map_err(|_| PyTypeError::new_err("http header key must be a string"))?;
        let value_text = value
            .cast::<PyString>()
            .map_err(|_| PyTypeError::new_err("http header value must be a string"))?;
        with_latin1(name_text, |name| {
            with_latin1(value_text, |value| exchange.head.add(name, value))
        })
        .flatten()
        .ok_or_else(|| PyValueError::new_err("http header must be encodable in latin1"))?
        .map_err(|what| PyValueError::new_err(format!("http header {} {what}", ascii(&name))))?;
    }
    Ok(())
}

fn ascii(value: &Bound<'_, PyAny>) -> String {
    value
        .repr()
        .map_or_else(|_| "?".into(), |text| text.to_string())
}

/// The string's characters as Latin-1 bytes, without a copy where they are ASCII; `None` if there are others.
fn with_latin1<T>(text: &Bound<'_, PyString>, use_it: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let mut size: ffi::Py_ssize_t = 0;
    // SAFETY: a string object and a local; the result lives as long as the string.
    let utf8 = unsafe { ffi::PyUnicode_AsUTF8AndSize(text.as_ptr(), &raw mut size) };
    if utf8.is_null() {
        // lone surrogates
        drop(PyErr::take(text.py()));
        return None;
    }
    // SAFETY: CPython gives `size` bytes at `utf8`.
    let bytes = unsafe { std::slice::from_raw_parts(utf8.cast::<u8>(), size as usize) };
    if bytes.is_ascii() {
        return Some(use_it(bytes));
    }
    let decoded = std::str::from_utf8(bytes).ok()?;
    let latin1: Option<Vec<u8>> = decoded
        .chars()
        .map(|c| u8::try_from(u32::from(c)).ok())
        .collect();
    latin1.map(|bytes| use_it(&bytes))
}
