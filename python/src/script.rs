//! Runs a Python program as `__main__`: the script of `pyrun`, and the programs of workers.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};

use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use ruwsgi::ipc::AppSpec;

use crate::api::uwsgi_module;
use crate::{diagnose, fork, load, python};

/// Runs the script of `pyrun`. The descriptor `settings` is a file with the settings. Returns the exit status.
pub fn main(py: Python<'_>, settings: i32) -> i32 {
    // SAFETY: the master has opened this descriptor for this process, and nothing else here uses it.
    let settings = File::from(unsafe { OwnedFd::from_raw_fd(settings) });
    ruwsgi::log::start("script");
    let spec = match AppSpec::read(&settings) {
        Ok(spec) => spec,
        Err(error) => {
            tracing::error!("the settings of the script cannot be read: {error}");
            return ruwsgi::exit::FAILED;
        }
    };
    let prepared = uwsgi_module::install(py, &spec, false)
        .and_then(|()| {
            uwsgi_module::become_script();
            load::prepare(py, &spec)
        })
        .map_err(|error| diagnose::raised(py, "the interpreter", &error))
        .and_then(|()| load::import_aliases(py, &spec));
    if let Err(failure) = prepared {
        ruwsgi::log::block(tracing::Level::ERROR, &failure.sentence, &failure.traceback);
        return ruwsgi::exit::NO_APP;
    }
    let path = spec.script.as_deref().unwrap_or_default();
    let run = named(py, path, &spec.pyargv).and_then(|()| execute_file(py, path));
    status_of(py, run.err())
}

/// Sets `sys.argv` of a script.
fn named(py: Python<'_>, path: &str, arguments: &[String]) -> PyResult<()> {
    let words = std::iter::once(path).chain(arguments.iter().map(String::as_str));
    py.import("sys")?.setattr("argv", PyList::new(py, words)?)
}

/// The exit status of a program that has ended, with `error` if the program has raised an exception. Prints the
/// traceback of an exception other than SystemExit.
pub fn status_of(py: Python<'_>, error: Option<PyErr>) -> i32 {
    let Some(error) = error else {
        return ruwsgi::exit::OK;
    };
    if !error.is_instance_of::<PySystemExit>(py) {
        error.print(py);
        return ruwsgi::exit::FAILED;
    }
    match error.value(py).getattr("code") {
        Ok(code) if code.is_none() => ruwsgi::exit::OK,
        Ok(code) => code.extract().unwrap_or_else(|_| {
            eprintln!("{code}");
            ruwsgi::exit::FAILED
        }),
        Err(_) => ruwsgi::exit::FAILED,
    }
}

/// Executes a file as `__main__`.
///
/// # Errors
/// The exception that the program raises, or the exception for an unreadable file.
pub fn execute_file(py: Python<'_>, path: &str) -> PyResult<()> {
    let main = main_module(py)?;
    main.set_item("__file__", path)?;
    let source = std::fs::read(path).map_err(|error| {
        let reason = format!("{path}: {error}");
        pyo3::exceptions::PyOSError::new_err(reason)
    })?;
    let compile = py.import("builtins")?.getattr("compile")?;
    let code = compile.call1((source.as_slice(), path, "exec", 0, true))?;
    let execute = py.import("builtins")?.getattr("exec")?;
    ended(py, execute.call1((code, main)).map(drop))
}

/// Executes a text as `__main__`.
///
/// # Errors
/// The exception that the text raises.
pub fn execute_text(py: Python<'_>, code: &str) -> PyResult<()> {
    let main = main_module(py)?;
    let code = CString::new(code)?;
    ended(py, py.run(&code, Some(&main), None))
}

/// Runs an interactive shell on the standard input.
///
/// # Errors
/// SystemExit, or an exception of the module `code`.
pub fn shell(py: Python<'_>) -> PyResult<()> {
    let options = PyDict::new(py);
    options.set_item("banner", "")?;
    options.set_item("exitmsg", "")?;
    options.set_item("local", main_module(py)?)?;
    let interact = py.import("code")?.getattr("interact")?;
    ended(py, interact.call((), Some(&options)).map(drop))
}

fn main_module(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    Ok(py.import("__main__")?.dict())
}

/// Ends this process if the program has forked it. Such a process has left the program's code.
fn ended(py: Python<'_>, result: PyResult<()>) -> PyResult<()> {
    fork::end_child(py, result.as_ref().err());
    python::flush(py);
    result
}
