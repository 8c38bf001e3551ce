//! Functions that concern the interpreter as a whole.

use pyo3::prelude::*;
use ruwsgi::ipc::AppSpec;

use crate::threads_at_exit;

/// Sets this process's title in `ps`: `ruwsgi worker 1 (mysite)`, or the title that the procname options set.
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

/// Logs the version of the interpreter and its path.
pub fn log_version(py: Python<'_>) {
    let path = py.import("sys").and_then(|sys| sys.getattr("executable"));
    let path = path.map_or_else(|_| String::new(), |path| path.to_string());
    let version = Python::version_str().split(' ').next().unwrap_or_default();
    tracing::info!("Python {version} at {path}");
}

/// Formats a traceback as Python prints it. An error outside of the application's lines (a wrong return value, a syntax
/// error) has no stack. The result then also begins with the usual first line, because tools search the log for this
/// line.
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

/// Logs an exception of a hook of the application.
pub fn log_hook_failure(py: Python<'_>, id: u32, hook: &str, error: &PyErr) {
    ruwsgi::log::block(
        tracing::Level::ERROR,
        &format!("worker {id}: the {hook} hook raised an exception"),
        &traceback(py, error),
    );
}

/// Runs the garbage collector once, and excludes the remaining objects from later collections, so that the collector
/// does not write to pages that the workers share. Returns free memory to the kernel.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter.
pub fn freeze(py: Python<'_>) -> PyResult<()> {
    let gc = py.import("gc")?;
    gc.call_method0("collect")?;
    gc.call_method0("freeze")?;
    ruwsgi::sys::thread::trim_heap();
    Ok(())
}

/// Ends the interpreter as `multiprocessing` does in its children: waits for the application's threads, calls its
/// `atexit` functions, and flushes its streams. `Py_Finalize` is not called, because it would interrupt daemon threads,
/// and would take tens of milliseconds to free memory that the kernel frees at once.
pub fn shutdown_interpreter(py: Python<'_>) {
    let steps: [(&str, &str); 2] = [("threading", "_shutdown"), ("atexit", "_run_exitfuncs")];
    let imported = |name: &str| {
        let modules = py.import("sys")?.getattr("modules")?;
        modules.get_item(name)
    };
    if imported("threading").is_ok()
        && let Err(error) = threads_at_exit::watch(py)
    {
        tracing::debug!("the threads for which the exit waits are not reported: {error}");
    }
    for (module, function) in steps {
        // if the application has not imported the module, there is nothing to end
        let Ok(module) = imported(module) else {
            continue;
        };
        if let Err(error) = module.call_method0(function) {
            tracing::warn!("at exit: {error}");
        }
    }
    flush(py);
}

/// Flushes Python's standard streams.
pub fn flush(py: Python<'_>) {
    for stream in ["stdout", "stderr"] {
        let flush = || -> PyResult<()> {
            let stream = py.import("sys")?.getattr(stream)?;
            if !stream.is_none() {
                stream.call_method0("flush")?;
            }
            Ok(())
        };
        // a failed write to the log must not prevent the exit of the process
        let _ = flush();
    }
}
