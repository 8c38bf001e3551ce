//! Logs the threads of the application for which the exit of a process waits. The exit waits for threads that are no
//! daemon threads.

use std::ffi::CString;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyModule;
use ruwsgi::sys::thread;

/// Python code that describes the threads. It runs only if `threading` was imported.
const DESCRIBE: &str = include_str!("threads_at_exit.py");

/// Time that the threads have to end before the log names them.
const PATIENCE: Duration = Duration::from_secs(1);

/// Maximum number of threads that the report names.
const NAMED: usize = 8;

/// Starts a thread that reports the threads for which the exit waits, after `PATIENCE`. Does nothing if the exit waits
/// for no thread.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter, or the error of the start of the thread.
pub fn watch(py: Python<'_>) -> PyResult<()> {
    let code = CString::new(DESCRIBE)?;
    let module = PyModule::from_code(py, &code, c"<ruwsgi>/exit.py", c"_ruwsgi_exit")?;
    if module.getattr("waited_for")?.call0()?.len()? == 0 {
        return Ok(());
    }
    let describe = module.getattr("describe")?.unbind();
    // nothing joins this thread, because the exit of the process ends it
    let watcher = move || {
        std::thread::sleep(PATIENCE);
        let described = Python::try_attach(|py| describe.call0(py)?.extract::<Vec<String>>(py));
        if let Some(Ok(threads)) = described {
            report(threads);
        }
    };
    thread::without_signals(|| {
        std::thread::Builder::new()
            .name("exit".into())
            .spawn(watcher)
    })?;
    Ok(())
}

fn report(mut threads: Vec<String>) {
    if threads.is_empty() {
        return;
    }
    let more = match threads.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; {more} more"),
    };
    threads.truncate(NAMED);
    tracing::warn!(
        "the exit waits for threads of the application that are no daemon threads: {}{more}. End them in an atexit function, or start them with daemon=True",
        threads.join("; ")
    );
}
