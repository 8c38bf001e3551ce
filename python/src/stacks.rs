//! The stacks of all threads, in a memory file. The master reads the file after the worker's death. Python's
//! `faulthandler` writes the stacks to the file when the worker crashes, and on a signal when a request has expired
//! (`harakiri`).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use ruwsgi::sys::{stream, thread};

/// The memory file. The master also has a descriptor of this file.
static FILE: OnceLock<Mutex<File>> = OnceLock::new();

/// Whether [`prepare`] has enabled `faulthandler`.
static ENABLED: AtomicBool = AtomicBool::new(false);

/// Maximum number of bytes that are read from the file.
const LIMIT: u64 = 64 << 10;

/// Creates the memory file and has `faulthandler` write the stacks to it on a crash, unless the application has enabled
/// `faulthandler` itself.
///
/// # Errors
/// Returns an error if the file cannot be created, or the Python exception of a failed call into the interpreter.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    let file = stream::memory_file("ruwsgi-stacks")?;
    stream::append_only(&file)?;
    let fd = file.as_raw_fd();
    // `set` cannot fail, because a process becomes a worker only once
    let _ = FILE.set(Mutex::new(file));
    let faulthandler = py.import("faulthandler")?;
    if !faulthandler.call_method0("is_enabled")?.is_truthy()? {
        faulthandler.call_method("enable", (), Some(&options(py, fd)?))?;
        ENABLED.store(true, Relaxed);
    }
    Ok(())
}

/// Disables `faulthandler` if [`prepare`] has enabled it. Called in a child that the application has forked, because a
/// crash of the child is not a crash of the worker.
pub fn forget(py: Python<'_>) {
    if ENABLED.swap(false, Relaxed)
        && let Ok(faulthandler) = py.import("faulthandler")
    {
        // after a failure the handler stays installed
        let _ = faulthandler.call_method0("disable");
    }
}

/// Removes the handler that [`write_on_signal`] has installed. Called in a child that the application has forked.
pub fn forget_signal(py: Python<'_>, signal: i32) {
    if let Ok(faulthandler) = py.import("faulthandler") {
        // after a failure the handler stays installed
        let _ = faulthandler.call_method1("unregister", (signal,));
    }
}

/// Has `faulthandler` write the stacks to the memory file on a signal, even while native code holds the interpreter.
/// Does nothing if there is no memory file.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter.
pub fn write_on_signal(py: Python<'_>, signal: i32) -> PyResult<()> {
    let Some(file) = file() else { return Ok(()) };
    let options = options(py, file.as_raw_fd())?;
    py.import("faulthandler")?
        .call_method("register", (signal,), Some(&options))?;
    Ok(())
}

fn options(py: Python<'_>, fd: i32) -> PyResult<Bound<'_, PyDict>> {
    let options = PyDict::new(py);
    options.set_item("file", fd)?;
    options.set_item("all_threads", true)?;
    Ok(options)
}

fn file() -> Option<MutexGuard<'static, File>> {
    let file = FILE.get()?;
    Some(file.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Calls `run` with the descriptor of the memory file, so that `run` can send it to the master. Without a file the
/// argument is `None`.
pub fn with_descriptor<T>(run: impl FnOnce(Option<BorrowedFd<'_>>) -> T) -> T {
    let file = file();
    run(file.as_ref().map(|file| file.as_fd()))
}

/// Replaces the content of the memory file by `text`, the formatted stacks.
pub fn keep(text: &str) {
    if let Some(mut file) = file() {
        // on failure the master's report has no stacks, but the log has them already
        let _ = file
            .set_len(0)
            .and_then(|()| file.write_all(text.as_bytes()));
    }
}

/// Delivers `signal` to the calling thread, so that the signal's handler writes the stacks to the memory file, and
/// reads the file. `None` if the signal has no handler or the file cannot be read. Call it while native code holds the
/// interpreter, because then no Python frame changes meanwhile.
pub fn dump(signal: i32) -> Option<String> {
    let mut file = file()?;
    if !thread::handles(signal) {
        return None;
    }
    file.set_len(0).ok()?;
    thread::receive(signal);
    read(&mut file).ok()
}

fn read(file: &mut File) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut text = Vec::new();
    file.take(LIMIT).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
