//! The streams to the log: `sys.stdout`, `sys.stderr` and `wsgi.errors`. A log that is full or gone fails no request, and
//! closing `wsgi.errors` has no effect.

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The file name in tracebacks.
const ORIGIN: &str = "<ruwsgi>/streams.py";

/// The streams are subclasses of Python's own, which the stable ABI cannot derive from.
const CODE: &str = include_str!("streams.py");

/// Replaces the standard streams, and returns `wsgi.errors`: a line-buffered text stream to standard error.
///
/// # Errors
/// Those of the interpreter.
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
