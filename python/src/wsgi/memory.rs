//! Allocations whose size a client or an application chooses. A failed allocation raises MemoryError, as in Python.

use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Creates a `bytes` object with this content. (`PyBytes::new` panics when memory is short.)
///
/// # Errors
/// Returns `MemoryError` when memory is short.
pub fn new_bytes<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let len = isize::try_from(bytes.len())?;
    // SAFETY: `len` bytes are readable; the result is a new reference to a bytes object, or null with an exception set.
    unsafe {
        let object = ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), len);
        Ok(Bound::from_owned_ptr_or_err(py, object)?.cast_into_unchecked())
    }
}

/// Reserves room for `more` bytes in `buffer`. (`Vec::reserve` ends the process when memory is short.)
///
/// # Errors
/// Returns `MemoryError` when memory is short.
pub fn reserve(buffer: &mut Vec<u8>, more: usize) -> PyResult<()> {
    let reserved = buffer.try_reserve(more);
    reserved.map_err(|_| PyMemoryError::new_err(()))
}
