//! The streams to the log: `sys.stdout`, `sys.stderr` and `wsgi.errors`. If a write fails because the log is full or
//! gone, the request continues. Closing `wsgi.errors` has no effect.

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The file name in tracebacks.
const ORIGIN: &str = "<ruwsgi>/streams.py";

/// Python code of the streams. They are subclasses of Python's own streams, from which Rust code cannot derive classes
/// with the stable ABI.
const CODE: &str = include_str!("streams.py");

/// Replaces the standard streams, and returns `wsgi.errors`: a line-buffered text stream to standard error.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter.
pub fn install(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let names = PyDict::new(py);
    names.set_item("__name__", "_ruwsgi")?;
    let builtins = py.import("builtins")?;
    let code = builtins.call_method1("compile", (CODE, ORIGIN, "exec"))?;
    builtins.call_method1("exec", (code, &names))?;
    names
        .as_any()
        .get_item("install")?
        .call0()
        .map(Bound::unbind)
}
