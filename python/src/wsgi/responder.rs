//! `start_response` and `write` (PEP 3333). Each thread has one pair for all of its requests.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use pyo3::exceptions::{
    PyAssertionError, PyBrokenPipeError, PyRuntimeError, PyTypeError, PyValueError,
};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use ruwsgi::http::response::Response;
use ruwsgi::http::response_writer::PeerGone;
use ruwsgi::http::shared_response::SharedResponse;
use ruwsgi::http::unlock::Unlock;
use ruwsgi::http::write_queue::Block;

/// Attempts, a millisecond apart, to lock the response after the application has returned.
const ATTEMPTS: u32 = 1000;

/// The two callables that an application sees of its response.
#[pyclass(frozen, module = "_ruwsgi")]
pub struct Responder {
    response: Arc<SharedResponse>,
}

impl Responder {
    /// For a thread's response.
    pub fn new(response: Arc<SharedResponse>) -> Self {
        Self { response }
    }

    /// The response. The lock is held during system calls without the interpreter, so a thread that is attached must not
    /// wait for it: one that finds it locked uses the response of another thread, which is an error.
    ///
    /// # Errors
    /// `RuntimeError`.
    pub fn response(&self) -> PyResult<MutexGuard<'_, Response>> {
        self.response.try_lock().ok_or_else(|| {
            PyRuntimeError::new_err("start_response or write was called from two threads at once")
        })
    }

    /// The response, after the application has returned. Waits while the I/O thread responds at the request's deadline.
    ///
    /// # Errors
    /// `RuntimeError`, when the application has left a thread behind that uses the response.
    pub fn response_after_call(&self, py: Python<'_>) -> PyResult<MutexGuard<'_, Response>> {
        for _ in 0..ATTEMPTS {
            if let Ok(guard) = self.response() {
                return Ok(guard);
            }
            py.detach(|| std::thread::sleep(Duration::from_millis(1)));
        }
        self.response()
    }
}

/// The interpreter's lock, which the engine releases while it writes.
pub struct Gil<'py>(pub Python<'py>);

impl Unlock for Gil<'_> {
    #[inline]
    fn unlocked<T: Send>(&self, wait: impl FnOnce() -> T + Send) -> T {
        self.0.detach(wait)
    }
}

/// A block of a response body that the application gave.
pub struct BytesBlock<'a, 'py>(pub &'a Bound<'py, PyBytes>);

impl Block for BytesBlock<'_, '_> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn share(&self) -> Bytes {
        Bytes::from_owner(OwnedBytes::new(self.0))
    }
}

/// A `bytes` object whose content can be read without the interpreter.
struct OwnedBytes {
    _object: Py<PyBytes>,
    start: *const u8,
    len: usize,
}

// SAFETY: a bytes object does not change, and the reference keeps it alive; it is only read. Dropped where the
// interpreter is not attached, the reference is released by the next thread that attaches.
unsafe impl Send for OwnedBytes {}

impl OwnedBytes {
    fn new(object: &Bound<'_, PyBytes>) -> Self {
        let bytes = object.as_bytes();
        Self {
            start: bytes.as_ptr(),
            len: bytes.len(),
            _object: object.clone().unbind(),
        }
    }
}

impl AsRef<[u8]> for OwnedBytes {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: see `Send` above.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
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
        let mut response = slf.get().response()?;
        if !response.is_open() {
            return Err(PyRuntimeError::new_err(
                "start_response was called after its request had ended",
            ));
        }
        match exc_info {
            Some(info) if response.is_committed() => return Err(reraise(info)?),
            Some(_) => {}
            None if response.head.started => {
                return Err(PyAssertionError::new_err(
                    "start_response was called a second time without exc_info",
                ));
            }
            None => {}
        }
        take_status(&mut response, status)?;
        if let Err(error) = take_headers(&mut response, headers) {
            response.head.clear();
            return Err(error);
        }
        drop(response);
        slf.getattr(pyo3::intern!(slf.py(), "write"))
    }

    /// write(data): sends a block at once.
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let data = data.cast::<PyBytes>().map_err(|_| wrong_block(data))?;
        let mut response = self.response()?;
        if !response.is_open() {
            return Err(PyRuntimeError::new_err(
                "write was called after its request had ended",
            ));
        }
        match response.write(&Gil(py), &BytesBlock(data), false) {
            Ok(()) => Ok(()),
            Err(PeerGone) => Err(PyBrokenPipeError::new_err(
                "write error: the client is gone",
            )),
        }
    }
}

/// The error for a block that is not `bytes`.
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

fn take_status(response: &mut Response, status: &Bound<'_, PyAny>) -> PyResult<()> {
    let text = status
        .cast::<PyString>()
        .map_err(|_| PyTypeError::new_err("http status must be a string"))?;
    with_latin1(text, |bytes| response.head.start(bytes))
        .ok_or_else(|| PyValueError::new_err("http status must be encodable in latin1"))?
        .map_err(|what| PyValueError::new_err(format!("http status {what}: {}", ascii(status))))
}

fn take_headers(response: &mut Response, headers: &Bound<'_, PyAny>) -> PyResult<()> {
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
            with_latin1(value_text, |value| response.head.add(name, value))
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

/// Calls `use_it` with the string as Latin-1 bytes, which are not copied if they are ASCII; `None` if the string has other
/// characters.
fn with_latin1<T>(text: &Bound<'_, PyString>, use_it: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let mut size: ffi::Py_ssize_t = 0;
    // SAFETY: a string object and a local; the result lives as long as the string.
    let utf8 = unsafe { ffi::PyUnicode_AsUTF8AndSize(text.as_ptr(), &raw mut size) };
    if utf8.is_null() {
        // the string has lone surrogates
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
