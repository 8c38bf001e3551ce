//! The module `uwsgi` that applications import. Unsupported attributes are absent, so that an application can test for
//! them.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::exceptions::{PyAttributeError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyModule};
use ruwsgi::ipc::AppSpec;

/// `uwsgi.ruwsgi_version`, as bytes: the version of ruwsgi.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `uwsgi.version`, as bytes: the release of uWSGI whose interface this module has. Some libraries refuse older
/// releases, because older releases of uWSGI have faults. This module does not have these faults.
pub const UWSGI_VERSION: &str = "2.0.31";

/// `uwsgi.worker_id()`: the id of this worker, 0 in the zygote. Set after each fork.
pub static WORKER: AtomicU32 = AtomicU32::new(0);

/// Process id of the master. [`install`] sets it to the parent of the zygote.
pub static MASTER_PID: AtomicI32 = AtomicI32::new(0);

/// `uwsgi.masterpid()`. In a worker it is the master's process id. In a zygote that imports the application it is the
/// zygote's own process id. In uWSGI the master imports the application, and applications compare `uwsgi.masterpid()`
/// with `os.getpid()` to do something only once, such as the start of an exporter.
static SHOWN_MASTER_PID: AtomicI32 = AtomicI32::new(0);

/// The counters of `uwsgi.total_requests()` and `uwsgi.request_id()`. Both functions return 0 until the counters are
/// set. The GIL is held while the counters are called, so they must not block.
pub static COUNTERS: OnceLock<Counters> = OnceLock::new();

/// Sends the name and the message of `uwsgi.alarm()` to the master. Not set outside of workers.
pub static ALARM: OnceLock<Box<dyn Fn(String, String) + Send + Sync>> = OnceLock::new();

/// Maximum length of the name and of the message of an alarm, bytes. Longer texts are cut off.
const MAX_ALARM: usize = 8192;

/// Functions that count requests.
pub struct Counters {
    /// Returns the number of requests of all workers.
    pub total: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Returns the number of requests of this worker, including the current request.
    pub own: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// Adds `uwsgi` to `sys.modules`, and installs a finder for `uwsgidecorators`. Called before the application is
/// imported. `is_a_reload` is false only in the instance's first generation.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter, above all `MemoryError`.
pub fn install(py: Python<'_>, spec: &AppSpec, is_a_reload: bool) -> PyResult<()> {
    // SAFETY: getppid has no preconditions and cannot fail.
    let master = unsafe { libc::getppid() };
    MASTER_PID.store(master, Ordering::Relaxed);
    let shown = match spec.lazy {
        true => master,
        false => std::process::id().cast_signed(),
    };
    SHOWN_MASTER_PID.store(shown, Ordering::Relaxed);
    let uwsgi = PyModule::new(py, "uwsgi")?;
    add_facts(&uwsgi, spec, is_a_reload)?;
    crate::deadline::add_exception(py, &uwsgi)?;
    for function in [
        wrap_pyfunction!(worker_id, &uwsgi)?,
        wrap_pyfunction!(masterpid, &uwsgi)?,
        wrap_pyfunction!(total_requests, &uwsgi)?,
        wrap_pyfunction!(request_id, &uwsgi)?,
        wrap_pyfunction!(log, &uwsgi)?,
        wrap_pyfunction!(setprocname, &uwsgi)?,
        wrap_pyfunction!(alarm, &uwsgi)?,
        wrap_pyfunction!(accepting, &uwsgi)?,
        wrap_pyfunction!(reload, &uwsgi)?,
        wrap_pyfunction!(stop, &uwsgi)?,
        wrap_pyfunction!(__getattr__, &uwsgi)?,
    ] {
        uwsgi.add_function(function)?;
    }
    super::signals::install(&uwsgi)?;
    super::cache::add(&uwsgi)?;
    super::mules::install(&uwsgi)?;
    super::locks::add(&uwsgi)?;
    super::queue::add(&uwsgi)?;
    super::sharedarea::add(&uwsgi)?;
    super::request::install(&uwsgi)?;
    super::waiting::install(&uwsgi)?;
    super::rpc::install(&uwsgi)?;
    super::facts::install(&uwsgi)?;
    super::hooks::watch_assignments(&uwsgi)?;
    let modules = py.import("sys")?.getattr("modules")?;
    modules.set_item("uwsgi", uwsgi)?;
    super::decorators::install(py)
}

/// The current time, seconds since 1970.
pub fn seconds_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Records that this process is the worker `worker_id`. From now on `uwsgi.masterpid()` is the master's process id.
pub fn become_worker(worker_id: u32) {
    WORKER.store(worker_id, Ordering::Relaxed);
    SHOWN_MASTER_PID.store(MASTER_PID.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// Records that this process runs a script (`pyrun`) and has no master. As in uWSGI, it is worker 1.
pub fn become_script() {
    WORKER.store(1, Ordering::Relaxed);
    MASTER_PID.store(0, Ordering::Relaxed);
    SHOWN_MASTER_PID.store(0, Ordering::Relaxed);
}

/// Calls `uwsgi.post_fork_hook`, if the application has set it. Call it in the worker after each fork.
///
/// # Errors
/// The exception that the hook raises.
pub fn call_post_fork_hook(py: Python<'_>) -> PyResult<()> {
    call_hook(py, "post_fork_hook")
}

/// Calls `uwsgi.atexit`, if the application has set it. Call it in a worker that is about to exit.
///
/// # Errors
/// The exception that the hook raises.
pub fn call_atexit(py: Python<'_>) -> PyResult<()> {
    call_hook(py, "atexit")
}

fn call_hook(py: Python<'_>, name: &str) -> PyResult<()> {
    let hook = py
        .import("uwsgi")?
        .getattr("__dict__")?
        .cast_into::<PyDict>()?
        .get_item(name)?;
    match hook {
        Some(hook) if !hook.is_none() => hook.call0().map(drop),
        _ => Ok(()),
    }
}

fn add_facts(uwsgi: &Bound<'_, PyModule>, spec: &AppSpec, is_a_reload: bool) -> PyResult<()> {
    let py = uwsgi.py();
    let mut numbers = UWSGI_VERSION
        .split('.')
        .map(|number| number.parse::<u32>().unwrap_or(0));
    let mut number = || numbers.next().unwrap_or(0);
    let started_on = seconds_now();
    let hostname = ruwsgi::sys::thread::hostname();
    uwsgi.add("version", PyBytes::new(py, UWSGI_VERSION.as_bytes()))?;
    uwsgi.add("ruwsgi_version", PyBytes::new(py, VERSION.as_bytes()))?;
    uwsgi.add(
        "version_info",
        (number(), number(), number(), 0, PyBytes::new(py, b"")),
    )?;
    uwsgi.add("hostname", PyBytes::new(py, hostname.as_bytes()))?;
    uwsgi.add("numproc", spec.worker.processes)?;
    uwsgi.add("cores", spec.worker.threads)?;
    uwsgi.add("has_threads", 1)?;
    uwsgi.add("buffer_size", spec.worker.buffer_size)?;
    uwsgi.add("started_on", started_on)?;
    uwsgi.add("is_a_reload", is_a_reload)?;
    uwsgi.add("applications", py.None())?;
    uwsgi.add("opt", options(py, spec)?)
}

/// Returns `uwsgi.opt`: a dictionary from option names to values. A value is bytes, a list of bytes if the option is
/// repeated, or `True` if the option has no value.
fn options<'py>(py: Python<'py>, spec: &AppSpec) -> PyResult<Bound<'py, PyDict>> {
    let opt = PyDict::new(py);
    for (name, values) in &spec.options {
        let bytes = |value: &String| PyBytes::new(py, value.as_bytes());
        match values.as_slice() {
            [] => opt.set_item(name, true)?,
            [value] => opt.set_item(name, bytes(value))?,
            values => opt.set_item(name, PyList::new(py, values.iter().map(bytes))?)?,
        }
    }
    Ok(opt)
}

/// The worker's id, from 1; 0 outside of workers.
#[pyfunction]
fn worker_id() -> u32 {
    WORKER.load(Ordering::Relaxed)
}

/// The master's process id; in the process that imports the application, its own.
#[pyfunction]
fn masterpid() -> i32 {
    SHOWN_MASTER_PID.load(Ordering::Relaxed)
}

/// Number of requests that the instance has begun.
#[pyfunction]
fn total_requests() -> u64 {
    COUNTERS.get().map_or(0, |counters| (counters.total)())
}

/// Number of requests that this worker has begun.
#[pyfunction]
fn request_id() -> u64 {
    COUNTERS.get().map_or(0, |counters| (counters.own)())
}

/// Writes a line to the log.
#[pyfunction]
fn log(py: Python<'_>, message: &str) -> bool {
    let line = format!("{message}\n");
    py.detach(|| std::io::stderr().lock().write_all(line.as_bytes()))
        .is_ok()
}

/// Sets this process's title in `ps`.
#[pyfunction]
fn setprocname(name: &str) {
    ruwsgi::sys::title::set_title(name);
}

/// Does nothing, because a worker counts as ready when its program starts (`python-worker-override`).
#[pyfunction]
fn accepting() {}

/// Raises an alarm of the configuration, with a message.
#[pyfunction]
fn alarm(py: Python<'_>, name: &str, message: &Bound<'_, PyAny>) -> PyResult<()> {
    let Some(send) = ALARM.get() else {
        return Err(PyRuntimeError::new_err(
            "uwsgi.alarm is available in workers, not while the application is imported",
        ));
    };
    let message = match message.cast::<PyBytes>() {
        Ok(bytes) => String::from_utf8_lossy(bytes.as_bytes()).into_owned(),
        Err(_) => message.extract::<String>()?,
    };
    let cut = |text: &str| ruwsgi::log::clipped(text, MAX_ALARM).to_owned();
    let (name, message) = (cut(name), cut(&message));
    // the master usually reads its messages at once, but it may be stopped, so the GIL is released
    py.detach(|| send(name, message));
    Ok(())
}

/// Asks the master for a graceful reload.
#[pyfunction]
fn reload() -> PyResult<bool> {
    signal_master(libc::SIGHUP)
}

/// Asks the master to stop the instance.
#[pyfunction]
fn stop() -> PyResult<bool> {
    signal_master(libc::SIGINT)
}

fn signal_master(signal: i32) -> PyResult<bool> {
    let pid = MASTER_PID.load(Ordering::Relaxed);
    if pid <= 1 {
        return Err(PyRuntimeError::new_err(
            "the process id of the master is unknown",
        ));
    }
    // SAFETY: kill takes numbers only; the pid belongs to the master, which started the zygote.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(true),
        _ => Err(std::io::Error::last_os_error().into()),
    }
}

#[pyfunction]
fn __getattr__(py: Python<'_>, name: &str) -> PyResult<Py<PyAny>> {
    if name == "env" {
        return super::request::environ(py).map(|environ| environ.into_any().unbind());
    }
    Err(PyAttributeError::new_err(match name.starts_with("__") {
        true => format!("module 'uwsgi' has no attribute '{name}'"),
        false => match super::absent::way_out(name) {
            Some(way_out) => format!("uwsgi.{name} is not available in ruwsgi: {way_out}"),
            None => format!("uwsgi.{name} is not available in ruwsgi"),
        },
    }))
}
