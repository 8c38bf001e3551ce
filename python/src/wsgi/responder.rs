//! `start_response` and `write` (PEP 3333). A thread uses the same pair of callables for all its requests. If the
//! application keeps a callable after a request, the thread creates a new pair.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
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
use ruwsgi::sys::fork_guard;

/// Error text for a string that HTTP cannot carry.
const NOT_LATIN1: &str = "must be encodable in latin1";

/// Maximum number of attempts to lock the response after the application has returned, one attempt per millisecond.
const AFTER_CALL: u32 = 1000;
/// Maximum number of attempts to lock the response while another thread writes to it, one attempt per millisecond.
const DURING_CALL: u32 = 10_000;

/// The object behind the two callables by which an application responds.
#[pyclass(frozen, module = "_ruwsgi")]
pub struct Responder {
    response: Arc<SharedResponse>,
    /// Whether the responder is disabled: its request has ended, and the application may still refer to it.
    over: AtomicBool,
}

impl Responder {
    /// Creates a responder for a thread's response.
    pub fn new(response: Arc<SharedResponse>) -> Self {
        Self {
            response,
            over: AtomicBool::new(false),
        }
    }

    /// Disables this responder for good: its callables raise an exception, and its thread creates another responder for
    /// its next request.
    pub fn end(&self) {
        self.over.store(true, Relaxed);
    }

    /// Whether [`Responder::end`] was called.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// Locks the response, for a call of `function` by the application. Fails if the request has ended.
    fn open(&self, py: Python<'_>, function: &str) -> PyResult<MutexGuard<'_, Response>> {
        if !self.is_over() {
            let response = self.response(py)?;
            // the request may have ended while this thread waited for the lock
            if response.is_open() && !self.is_over() {
                return Ok(response);
            }
        }
        Err(PyRuntimeError::new_err(format!(
            "{function} was called after its request had ended"
        )))
    }

    /// Locks the response. While another thread of the application writes to it, the caller waits without the
    /// interpreter, because the other thread may need the interpreter to finish.
    ///
    /// # Errors
    /// Returns `RuntimeError` if the other thread writes for more than ten seconds, or if the application has forked
    /// this process.
    #[inline]
    pub fn response(&self, py: Python<'_>) -> PyResult<MutexGuard<'_, Response>> {
        self.lock(py, DURING_CALL)
    }

    /// Locks the response after the application has returned. Waits, at most about a second, while the I/O thread
    /// responds at the request's deadline.
    ///
    /// # Errors
    /// Returns `RuntimeError` if the application has left a thread behind that uses the response.
    pub fn response_after_call(&self, py: Python<'_>) -> PyResult<MutexGuard<'_, Response>> {
        self.lock(py, AFTER_CALL)
    }

    #[inline]
    fn lock(&self, py: Python<'_>, attempts: u32) -> PyResult<MutexGuard<'_, Response>> {
        if !fork_guard::is_forked()
            && let Some(response) = self.response.try_lock()
        {
            return Ok(response);
        }
        self.wait(py, attempts)
    }

    #[cold]
    fn wait(&self, py: Python<'_>, attempts: u32) -> PyResult<MutexGuard<'_, Response>> {
        if fork_guard::is_forked() {
            return Err(PyRuntimeError::new_err(
                "this process was forked by the application: only the worker can respond",
            ));
        }
        for _ in 0..attempts {
            if let Some(response) = self.response.try_lock() {
                return Ok(response);
            }
            py.detach(|| std::thread::sleep(Duration::from_millis(1)));
        }
        Err(PyRuntimeError::new_err(
            "another thread of the application still writes to the response",
        ))
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

// SAFETY: a bytes object does not change, the reference keeps it alive, and its content is only read. If a thread that
// is not attached to the interpreter drops the reference, the next thread that attaches releases it.
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
        let mut response = slf.get().open(slf.py(), "start_response")?;
        // Python code may take long, or wait for another thread that writes, so no Python code runs while the response
        // is locked
        match exc_info {
            Some(info) if response.is_committed() => {
                drop(response);
                return Err(reraise(info)?);
            }
            Some(_) => {}
            None if response.head.is_started() => {
                return Err(PyAssertionError::new_err(
                    "start_response was called a second time without exc_info",
                ));
            }
            None => {}
        }
        let taken = take_head(&mut response, status, headers);
        drop(response);
        taken.map_err(Mistake::into_error)?;
        slf.getattr(pyo3::intern!(slf.py(), "write"))
    }

    /// write(data): sends the block `data` at once.
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let data = data.cast::<PyBytes>().map_err(|_| wrong_block(data))?;
        let mut response = self.open(py, "write")?;
        match response.write(&Gil(py), &BytesBlock(data), false) {
            Ok(()) => Ok(()),
            Err(PeerGone) => Err(PyBrokenPipeError::new_err(
                "write error: the client is gone",
            )),
        }
    }
}

/// Creates the error for a block that is not `bytes`.
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

/// A mistake in the arguments of `start_response`.
enum Mistake<'py> {
    /// An argument, or a part of it, has the wrong type.
    Type(&'static str, Bound<'py, PyAny>),
    /// The value of the header `name` is no string.
    HeaderValue {
        name: Bound<'py, PyAny>,
        value: Bound<'py, PyAny>,
    },
    /// A header is a tuple with this number of items, not two.
    HeaderLength(usize),
    /// The status `value`, or the header with the name `value`, is invalid for this reason.
    Text {
        what: &'static str,
        value: Bound<'py, PyAny>,
        reason: &'static str,
    },
    /// The interpreter has raised an exception.
    Raised(PyErr),
}

impl From<PyErr> for Mistake<'_> {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl Mistake<'_> {
    /// Converts the mistake to an exception. The response must not be locked, because the text of a value may need
    /// Python code of the application.
    #[cold]
    fn into_error(self) -> PyErr {
        match self {
            Self::Type(text, value) => {
                PyTypeError::new_err(format!("{text}, not {}", type_name(&value)))
            }
            Self::HeaderValue { name, value } => PyTypeError::new_err(format!(
                "http header value must be a string: {} has a value of type {}",
                ascii(&name),
                type_name(&value)
            )),
            Self::HeaderLength(length) => PyTypeError::new_err(format!(
                "http header must be a tuple of a name and a value, not of {length} items"
            )),
            Self::Text {
                what,
                value,
                reason,
            } => PyValueError::new_err(format!("{what} {} {reason}", ascii(&value))),
            Self::Raised(error) => error,
        }
    }
}

/// Sets the status and the headers of the response. After a mistake the response has no status and no headers.
fn take_head<'py>(
    response: &mut Response,
    status: &Bound<'py, PyAny>,
    headers: &Bound<'py, PyAny>,
) -> Result<(), Mistake<'py>> {
    take_status(response, status)?;
    take_headers(response, headers).inspect_err(|_| response.head.clear())
}

fn take_status<'py>(
    response: &mut Response,
    status: &Bound<'py, PyAny>,
) -> Result<(), Mistake<'py>> {
    let text = status
        .cast::<PyString>()
        .map_err(|_| Mistake::Type("http status must be a string", status.clone()))?;
    with_latin1(text, |bytes| response.head.start(bytes))
        .unwrap_or(Err(NOT_LATIN1))
        .map_err(|reason| Mistake::Text {
            what: "http status",
            value: status.clone(),
            reason,
        })
}

fn take_headers<'py>(
    response: &mut Response,
    headers: &Bound<'py, PyAny>,
) -> Result<(), Mistake<'py>> {
    let list = headers
        .cast::<PyList>()
        .map_err(|_| Mistake::Type("http headers must be in a python list", headers.clone()))?;
    for item in list.iter() {
        let pair = item
            .cast::<PyTuple>()
            .map_err(|_| Mistake::Type("http header must be defined in a tuple", item.clone()))?;
        if pair.len() != 2 {
            return Err(Mistake::HeaderLength(pair.len()));
        }
        let (name, value) = (pair.get_item(0)?, pair.get_item(1)?);
        let name_text = name
            .cast::<PyString>()
            .map_err(|_| Mistake::Type("http header key must be a string", name.clone()))?;
        let value_text = value.cast::<PyString>().map_err(|_| Mistake::HeaderValue {
            name: name.clone(),
            value: value.clone(),
        })?;
        with_latin1(name_text, |name| {
            with_latin1(value_text, |value| response.head.add(name, value))
        })
        .flatten()
        .unwrap_or(Err(NOT_LATIN1))
        .map_err(|reason| Mistake::Text {
            what: "http header",
            value: name.clone(),
            reason,
        })?;
    }
    Ok(())
}

fn ascii(value: &Bound<'_, PyAny>) -> String {
    value
        .repr()
        .map_or_else(|_| "?".into(), |text| text.to_string())
}

fn type_name(value: &Bound<'_, PyAny>) -> String {
    let name = value.get_type().name();
    name.map_or_else(|_| "?".into(), |name| name.to_string())
}

/// Calls `use_it` with the string as Latin-1 bytes; an ASCII string is not copied. `None` if the string has characters
/// outside of Latin-1.
fn with_latin1<T>(text: &Bound<'_, PyString>, use_it: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let mut size: ffi::Py_ssize_t = 0;
    // SAFETY: `text` is a string object and `size` a local variable; the result lives as long as the string.
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
    let mut latin1 = Vec::new();
    latin1.try_reserve_exact(bytes.len()).ok()?;
    for character in decoded.chars() {
        latin1.push(u8::try_from(u32::from(character)).ok()?);
    }
    Some(use_it(&latin1))
}
