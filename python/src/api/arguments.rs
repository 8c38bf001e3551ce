//! Converts arguments of the functions of the module `uwsgi`. Text may be str (UTF-8) or bytes.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// Returns the bytes of a str or bytes object, without a copy.
///
/// # Errors
/// `TypeError` for another type, `UnicodeEncodeError` for a str that has no UTF-8 form.
pub(super) fn bytes<'a>(object: &'a Bound<'_, PyAny>) -> PyResult<&'a [u8]> {
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(bytes.as_bytes());
    }
    if let Ok(text) = object.cast::<PyString>() {
        return Ok(text.to_str()?.as_bytes());
    }
    let kind = object.get_type().name()?;
    let message = format!("a bytes-like object is required, not '{kind}'");
    Err(PyTypeError::new_err(message))
}

/// Runs `action` without the interpreter lock if it may wait.
pub(super) fn may_wait<T: Send>(
    py: Python<'_>,
    waits: bool,
    action: impl FnOnce() -> T + Send,
) -> T {
    match waits {
        true => py.detach(action),
        false => action(),
    }
}
