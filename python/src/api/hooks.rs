//! The hook `uwsgi.after_req_hook`, which the application can set. It is called after each request.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule};

/// Whether the application has set the hook.
static IS_SET: AtomicBool = AtomicBool::new(false);

/// Python code of a module type that calls `set_hook` when an attribute of the module is set.
const WATCHED: &str = r#"
class WatchedModule(type(module)):
    __slots__ = ()
    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "after_req_hook":
            set_hook(value is not None)
WatchedModule.__name__ = WatchedModule.__qualname__ = "module"
module.__class__ = WatchedModule
"#;

#[pyfunction]
fn set_hook(is_set: bool) {
    IS_SET.store(is_set, Relaxed);
}

/// Makes the module `uwsgi` record when the application sets the hook. A request then need not look the hook up.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter.
pub fn watch_assignments(uwsgi: &Bound<'_, PyModule>) -> PyResult<()> {
    let names = PyDict::new(uwsgi.py());
    names.set_item("module", uwsgi)?;
    names.set_item("set_hook", wrap_pyfunction!(set_hook, uwsgi)?)?;
    let code = std::ffi::CString::new(WATCHED)?;
    uwsgi.py().run(&code, Some(&names), None)
}

/// Whether the application has set the hook.
#[inline]
pub fn is_set() -> bool {
    IS_SET.load(Relaxed)
}

/// Calls the hook.
///
/// # Errors
/// The exception that the hook raises.
pub fn call(py: Python<'_>) -> PyResult<()> {
    let hook = py.import("uwsgi")?.getattr("after_req_hook")?;
    match hook.is_none() {
        true => Ok(()),
        false => hook.call0().map(drop),
    }
}
