//! Functions of the module `uwsgi` that return facts about the process and the instance.

use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyModule, PyTuple};
use ruwsgi::protocol::uwsgi::{HEADER, Head, vars};
use ruwsgi::sys::memory::Memory;
use ruwsgi::sys::process::Pid;

use super::signals;

/// Adds the functions of this file to the module `uwsgi`.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter.
pub fn install(uwsgi: &Bound<'_, PyModule>) -> PyResult<()> {
    for function in [
        wrap_pyfunction!(mem, uwsgi)?,
        wrap_pyfunction!(logsize, uwsgi)?,
        wrap_pyfunction!(micros, uwsgi)?,
        wrap_pyfunction!(accepting, uwsgi)?,
        wrap_pyfunction!(ready, uwsgi)?,
        wrap_pyfunction!(workers, uwsgi)?,
        wrap_pyfunction!(parsefile, uwsgi)?,
    ] {
        uwsgi.add_function(function)?;
    }
    uwsgi.add("loop", uwsgi.py().None())
}

/// The resident memory and the address space of this process, in bytes.
#[pyfunction]
fn mem() -> (u64, u64) {
    memory_of(std::process::id().cast_signed())
}

fn memory_of(pid: i32) -> (u64, u64) {
    let memory = Pid::new(pid).and_then(Memory::of).unwrap_or_default();
    (memory.resident, memory.address_space)
}

/// Always 0, because a worker does not know the size of the log.
#[pyfunction]
fn logsize() -> u64 {
    0
}

/// The current time in microseconds since 1970.
#[pyfunction]
fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

/// Does nothing, because the master knows when a worker accepts connections.
#[pyfunction]
fn accepting() {}

/// Always true, because application code runs only in a process that is ready.
#[pyfunction]
fn ready() -> bool {
    true
}

/// The workers of this generation. Each item is a dictionary.
#[pyfunction]
fn workers(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    let Some(worker) = signals::worker() else {
        return Ok(PyTuple::empty(py));
    };
    let mut all = worker.engine.workers();
    all.sort_by_key(|worker| worker.id);
    let all = all.iter().map(|it| {
        let dict = PyDict::new(py);
        dict.set_item("id", it.id)?;
        dict.set_item("pid", it.pid)?;
        dict.set_item("requests", it.requests)?;
        dict.set_item("delta_requests", it.requests)?;
        dict.set_item("signals", it.signals)?;
        dict.set_item("exceptions", it.exceptions)?;
        dict.set_item("status", PyBytes::new(py, it.status().as_bytes()))?;
        let (rss, vsz) = memory_of(it.pid);
        dict.set_item("rss", rss)?;
        dict.set_item("vsz", vsz)?;
        dict.set_item("running_time", it.running_us)?;
        dict.set_item("last_spawn", it.started)?;
        dict.set_item("respawn_count", 0)?;
        dict.set_item("tx", it.sent)?;
        dict.set_item(
            "avg_rt",
            it.running_us.checked_div(it.requests).unwrap_or(0),
        )?;
        dict.set_item("apps", (app(py, it.requests, it.exceptions)?,))?;
        Ok(dict)
    });
    PyTuple::new(py, all.collect::<PyResult<Vec<_>>>()?)
}

fn app(py: Python<'_>, requests: u64, exceptions: u64) -> PyResult<Bound<'_, PyDict>> {
    let app = PyDict::new(py);
    for (name, value) in [("id", 0), ("modifier1", 0), ("startup_time", 0)] {
        app.set_item(name, value)?;
    }
    app.set_item("mountpoint", PyBytes::new(py, b""))?;
    app.set_item("interpreter", 0)?;
    app.set_item("callable", 0)?;
    app.set_item("requests", requests)?;
    app.set_item("exceptions", exceptions)?;
    app.set_item("chdir", "")?;
    Ok(app)
}

/// Reads the variables of a file that contains a packet of the uwsgi protocol. `None` if the file contains no such
/// packet.
#[pyfunction]
fn parsefile(py: Python<'_>, path: std::path::PathBuf) -> PyResult<Option<Bound<'_, PyDict>>> {
    const MOST: u64 = HEADER as u64 + u16::MAX as u64;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(&path)?;
        std::io::Read::read_to_end(&mut std::io::Read::take(file, MOST), &mut bytes)?;
        Ok(bytes)
    };
    let Ok(bytes) = py.detach(read) else {
        return Ok(None);
    };
    let block = Head::parse(&bytes).and_then(|head| bytes.get(HEADER..HEADER + head.size));
    let Some(block) = block else { return Ok(None) };
    let dict = PyDict::new(py);
    for pair in vars(block) {
        let Ok((name, value)) = pair else {
            return Ok(None);
        };
        dict.set_item(PyBytes::new(py, name), PyBytes::new(py, value))?;
    }
    Ok(Some(dict))
}
