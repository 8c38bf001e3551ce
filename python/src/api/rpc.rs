//! Named functions of the module `uwsgi`: `register_rpc`, `rpc`, `call` and `rpc_list`. A named function runs in the
//! process that calls it.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyModule, PyTuple};

/// The named functions, by their names.
static FUNCTIONS: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

/// Adds the functions of this file to the module `uwsgi`.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter.
pub fn install(uwsgi: &Bound<'_, PyModule>) -> PyResult<()> {
    for function in [
        wrap_pyfunction!(register_rpc, uwsgi)?,
        wrap_pyfunction!(rpc, uwsgi)?,
        wrap_pyfunction!(call, uwsgi)?,
        wrap_pyfunction!(rpc_list, uwsgi)?,
    ] {
        uwsgi.add_function(function)?;
    }
    Ok(())
}

fn functions(py: Python<'_>) -> &Bound<'_, PyDict> {
    FUNCTIONS
        .get_or_init(py, || PyDict::new(py).unbind())
        .bind(py)
}

/// Converts a name or an argument to bytes.
fn bytes<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    match value.cast::<PyBytes>() {
        Ok(bytes) => Ok(bytes.clone()),
        Err(_) => Ok(PyBytes::new(
            value.py(),
            value.extract::<String>()?.as_bytes(),
        )),
    }
}

/// Registers a function under a name.
#[pyfunction]
#[pyo3(signature = (name, function, argc=0, /))]
fn register_rpc(name: &Bound<'_, PyAny>, function: Py<PyAny>, argc: u8) -> PyResult<bool> {
    let _ = argc;
    functions(name.py()).set_item(bytes(name)?, function)?;
    Ok(true)
}

/// Calls a function by its name, with arguments of str or bytes. The function gets bytes and returns bytes or str.
#[pyfunction]
#[pyo3(signature = (name, *arguments))]
fn call<'py>(
    name: &Bound<'py, PyAny>,
    arguments: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyBytes>> {
    let py = name.py();
    let name = bytes(name)?;
    let Some(function) = functions(py).get_item(&name)? else {
        return Err(PyValueError::new_err(format!(
            "unable to call rpc function: {} is not registered",
            String::from_utf8_lossy(name.as_bytes())
        )));
    };
    let arguments = arguments.iter().map(|it| bytes(&it));
    let arguments = arguments.collect::<PyResult<Vec<_>>>()?;
    let result = function.call1(PyTuple::new(py, arguments)?)?;
    match result.is_none() {
        true => Ok(PyBytes::new(py, b"")),
        false => bytes(&result),
    }
}

/// Calls a function by its name. `node` must be empty, because ruwsgi calls no functions on other hosts.
#[pyfunction]
#[pyo3(signature = (node, name, *arguments))]
fn rpc<'py>(
    node: Option<&Bound<'py, PyAny>>,
    name: &Bound<'py, PyAny>,
    arguments: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyBytes>> {
    if let Some(node) = node
        && !bytes(node)?.as_bytes().is_empty()
    {
        return Err(PyValueError::new_err(
            "unable to call rpc function: ruwsgi calls no functions on other hosts; send a request there",
        ));
    }
    call(name, arguments)
}

/// The names of the registered functions.
#[pyfunction]
fn rpc_list(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    PyTuple::new(py, functions(py).keys())
}
