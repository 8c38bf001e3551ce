//! The environ of a serving thread's current request, for the functions of the module `uwsgi`.

use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The environ of a serving thread's request. Only this thread uses it.
#[derive(Default)]
pub struct CurrentEnviron {
    object: AtomicPtr<ffi::PyObject>,
}

/// The environ is available until this value is dropped.
pub struct Lent<'a>(&'a CurrentEnviron);

impl CurrentEnviron {
    /// Makes the environ of a request available until the result is dropped.
    #[inline]
    pub fn lend<'a>(&'a self, environ: &'a Bound<'_, PyDict>) -> Lent<'a> {
        self.object.store(environ.as_ptr(), Relaxed);
        Lent(self)
    }

    /// Returns the environ; `None` outside of a request. Only the serving thread may call this.
    pub fn get<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyDict>> {
        let object = self.object.load(Relaxed);
        // SAFETY: the pointer is null, or `Lent` borrows the object, which therefore is live.
        let object = unsafe { Bound::from_borrowed_ptr_or_opt(py, object) };
        object?.cast_into().ok()
    }
}

impl Drop for Lent<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.object.store(std::ptr::null_mut(), Relaxed);
    }
}
