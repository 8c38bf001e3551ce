//! Small things asked of the interpreter as a whole.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use ruwsgi::ipc::AppSpec;

use crate::load::Apps;

/// Names this process in `ps`: `ruwsgi worker 1 (mysite)`, or as the procname options want it.
pub fn set_title(spec: &AppSpec, role: &str) {
    let names = &spec.serving.procname;
    let title = match &names.all {
        Some(all) => all.clone(),
        None => format!(
            "{}ruwsgi {role} ({}){}",
            names.prefix, spec.name, names.append
        ),
    };
    ruwsgi::sys::title::set_title(&title);
}

/// `wsgi.errors`: text to standard error, each line at once.
///
/// # Errors
/// Those of the interpreter.
pub fn errors_stream(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let options = PyDict::new(py);
    options.set_item("mode", "w")?;
    options.set_item("encoding", "utf-8")?;
    options.set_item("errors", "backslashreplace")?;
    options.set_item("buffering", 1)?;
    options.set_item("closefd", false)?;
    Ok(py
        .import("io")?
        .getattr("open")?
        .call((2,), Some(&options))?
        .unbind())
}

/// A traceback as Python prints it. A mistake in none of the application's lines (what it returned is at fault, or its
/// syntax) gets the usual first line all the same, for those who look for it.
pub fn traceback(py: Python<'_>, error: &PyErr) -> String {
    const FIRST: &str = "Traceback (most recent call last):\n";
    let format = || -> PyResult<String> {
        let parts = (error.get_type(py), error.value(py), error.traceback(py));
        let lines: Vec<String> = py
            .import("traceback")?
            .call_method1("format_exception", parts)?
            .extract()?;
        Ok(lines.concat())
    };
    let text = format().unwrap_or_else(|_| error.to_string());
    match text.contains(FIRST) {
        true => text,
        false if text.starts_with("  File ") => format!("{FIRST}{text}"),
        false => format!("{FIRST}  (in none of the application's own lines)\n{text}"),
    }
}

/// Moves all objects out of the garbage collector's sight, so that its marks do not unshare the workers' pages.
///
/// # Errors
/// Those of the interpreter.
pub fn freeze(py: Python<'_>) -> PyResult<()> {
    let gc = py.import("gc")?;
    gc.call_method0("collect")?;
    gc.call_method0("freeze")?;
    ruwsgi::sys::thread::give_memory_back();
    Ok(())
}

/// Logs what did not go as configured and yet did not prevent the start.
pub fn log_warnings(apps: &Apps) {
    for warning in apps.warnings() {
        ruwsgi::log::block(tracing::Level::WARN, &warning.sentence, &warning.traceback);
    }
}

/// Ends the interpreter's business as `multiprocessing` does in its children: waits for the application's threads,
/// runs its `atexit` functions, flushes its streams. Not `Py_Finalize`: it takes tens of milliseconds to free what
/// the kernel frees at once, and meets daemon threads in the middle of their work.
pub fn wind_up(py: Python<'_>) {
    let steps: [(&str, &str); 2] = [("threading", "_shutdown"), ("atexit", "_run_exitfuncs")];
    let imported = |name: &str| {
        let modules = py.import("sys")?.getattr("modules")?;
        modules.get_item(name)
    };
    for (module, function) in steps {
        // where nobody has imported the module, nobody has given it anything to do
        let Ok(module) = imported(module) else {
            continue;
        };
        if let Err(error) = module.call_method0(function) {
            tracing::warn!("at exit: {error}");
        }
    }
    for stream in ["stdout", "stderr"] {
        let flush = || -> PyResult<()> {
            let stream = py.import("sys")?.getattr(stream)?;
            if !stream.is_none() {
                stream.call_method0("flush")?;
            }
            Ok(())
        };
        // a log that takes nothing any more must not keep the process
        let _ = flush();
    }
}
