//! The callables of a request. The next request uses them again unless the application has kept one of them.

use std::sync::Arc;

use pyo3::ffi;
use pyo3::prelude::*;
use ruwsgi::http::shared_response::SharedResponse;

use super::responder::Responder;

/// The callables of the current request. The next request gets the same callables, unless the application keeps one of
/// them.
pub(super) struct Callables {
    /// The object that both callables belong to.
    pub(super) responder: Py<Responder>,
    /// The callable that the application gets.
    pub(super) start_response: Py<PyAny>,
    /// Offset of the list of weak references in `start_response`, bytes; 0 if its type has none.
    weak_list: usize,
}

impl Callables {
    /// Creates callables for a thread's response.
    pub(super) fn new(py: Python<'_>, response: &Arc<SharedResponse>) -> PyResult<Self> {
        let responder = Py::new(py, Responder::new(response.clone()))?;
        let start_response = responder.getattr(py, "start_response")?;
        let offset = start_response
            .bind(py)
            .get_type()
            .getattr("__weakrefoffset__")?;
        Ok(Self {
            responder,
            start_response,
            weak_list: offset.extract().unwrap_or(0),
        })
    }

    /// Ends the request. If the application still has a reference to one of the callables, both raise an exception from
    /// now on. A weak reference counts too.
    #[inline]
    pub(super) fn end_request(&self, _py: Python<'_>) {
        // SAFETY: the thread is attached to the interpreter, and both objects are live.
        let references = unsafe {
            (
                ffi::Py_REFCNT(self.start_response.as_ptr()),
                ffi::Py_REFCNT(self.responder.as_ptr()),
            )
        };
        // `start_response` has a reference to the responder; nothing can have a weak reference to the responder
        if references != (1, 2) || self.is_weakly_referenced() {
            self.responder.get().end();
        }
    }

    /// Whether `start_response` has weak references.
    #[inline]
    fn is_weakly_referenced(&self) -> bool {
        if self.weak_list == 0 {
            return false;
        }
        // SAFETY: the object is live, the thread is attached to the interpreter, and the object's type has the pointer
        // to the first weak reference at this offset; the pointer is null if there is none.
        let list = unsafe {
            let field = self.start_response.as_ptr().byte_add(self.weak_list);
            field.cast::<*const ffi::PyObject>().read()
        };
        !list.is_null()
    }

    /// Replaces both callables if the application has kept one of them.
    #[inline]
    pub(super) fn begin_request(
        &mut self,
        py: Python<'_>,
        response: &Arc<SharedResponse>,
    ) -> PyResult<()> {
        if self.responder.get().is_over() {
            *self = Self::new(py, response)?;
        }
        Ok(())
    }
}
