//! Loads applications that are not in an importable module: code in the configuration (`eval`), PasteDeploy and Pecan.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule};
use ruwsgi::ipc::LoadFailure;

use crate::diagnose::{self, failure};
use crate::fork;
use crate::python;

/// The name of the module in which `eval` runs, as in uWSGI.
const EVAL_MODULE: &str = "uwsgi_eval_config";

/// Executes `code`, the value of `eval`, in a new module and returns the module.
///
/// # Errors
/// Returns a failure that describes the exception raised by `code`.
pub fn evaluate<'py>(py: Python<'py>, code: &str) -> Result<Bound<'py, PyAny>, LoadFailure> {
    let executed = execute(py, code);
    fork::end_child(py, executed.as_ref().err());
    executed.map_err(|error| diagnose::raised(py, "eval", &error))
}

fn execute<'py>(py: Python<'py>, code: &str) -> PyResult<Bound<'py, PyAny>> {
    let module = PyModule::new(py, EVAL_MODULE)?;
    let globals = module.dict();
    py.import("sys")?
        .getattr("modules")?
        .set_item(EVAL_MODULE, &module)?;
    globals.set_item("__builtins__", py.import("builtins")?)?;
    let builtins = py.import("builtins")?;
    let code = builtins.getattr("compile")?.call1((
        code,
        "<eval of the configuration>",
        "exec",
        0,
        true,
    ))?;
    builtins.getattr("exec")?.call1((code, globals))?;
    Ok(module.into_any())
}

/// Loads a PasteDeploy application. `uri` is a URI such as `config:/path/to/file.ini`, or the path of such a file. If
/// `logs` is true, first configures Python's logging from the file. `what` names the option in messages.
///
/// # Errors
/// Returns a failure if PasteDeploy is not installed or raises an exception, or if the loaded object is no WSGI
/// application.
pub fn paste<'py>(
    py: Python<'py>,
    what: &str,
    uri: &str,
    logs: bool,
) -> Result<Bound<'py, PyAny>, LoadFailure> {
    let uri = absolute(uri);
    let load = || {
        if logs && let Some(file) = uri.strip_prefix("config:") {
            configure_logging(py, file)?;
        }
        py.import("paste.deploy")?.call_method1("loadapp", (&uri,))
    };
    deployed(py, what, ("paste.deploy", "PasteDeploy"), load)
}

/// Loads a Pecan application from its configuration file.
///
/// # Errors
/// Returns a failure if Pecan is not installed or raises an exception, or if the loaded object is no WSGI application.
pub fn pecan<'py>(py: Python<'py>, file: &str) -> Result<Bound<'py, PyAny>, LoadFailure> {
    let what = format!("pecan = {file}");
    let load = || py.import("pecan.deploy")?.call_method1("deploy", (file,));
    deployed(py, &what, ("pecan.deploy", "pecan"), load)
}

fn deployed<'py>(
    py: Python<'py>,
    what: &str,
    (module, package): (&str, &str),
    load: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
) -> Result<Bound<'py, PyAny>, LoadFailure> {
    let is_there = py.import(module).is_ok();
    if !is_there {
        return Err(failure(format!(
            "{what} cannot be loaded: the interpreter has no {package}: pip install {package}"
        )));
    }
    let loaded = load();
    fork::end_child(py, loaded.as_ref().err());
    let app = loaded.map_err(|error| diagnose::raised(py, what, &error))?;
    diagnose::checked(what, app)
}

/// Returns `uri` with an absolute file path, because PasteDeploy does not resolve relative paths. A URI with another
/// scheme than `config` is unchanged.
fn absolute(uri: &str) -> String {
    let (scheme, rest) = match uri.split_once(':') {
        Some((scheme, rest)) if scheme == "config" => (scheme, rest),
        Some(_) => return uri.to_owned(),
        None => ("config", uri),
    };
    let (path, name) = match rest.split_once('#') {
        Some((path, name)) => (path, format!("#{name}")),
        None => (rest, String::new()),
    };
    let path = std::path::absolute(path).map_or_else(
        |_| path.to_owned(),
        |absolute| absolute.display().to_string(),
    );
    format!("{scheme}:{path}{name}")
}

fn configure_logging(py: Python<'_>, file: &str) -> PyResult<()> {
    let file = file.split('#').next().unwrap_or_default();
    let defaults = PyDict::new(py);
    defaults.set_item("__file__", file)?;
    let here = std::path::Path::new(file).parent();
    defaults.set_item("here", here.map(|here| here.display().to_string()))?;
    let options = PyDict::new(py);
    options.set_item("defaults", defaults)?;
    options.set_item("disable_existing_loggers", false)?;
    let configured =
        py.import("logging.config")?
            .call_method("fileConfig", (file,), Some(&options));
    if let Err(error) = configured {
        tracing::warn!(
            "paste-logger: {file} does not configure logging: {}",
            python::traceback(py, &error)
        );
    }
    Ok(())
}
