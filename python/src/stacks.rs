//! The stacks of all threads, in a memory file that the master reads after the worker's death. Python's `faulthandler`
//! writes them there on a crash, and on a signal when a request has expired (`harakiri`).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use ruwsgi::sys::{stream, thread};

/// The memory file. The master has a descriptor of it.
static FILE: OnceLock<Mutex<File>> = OnceLock::new();

/// Whether [`prepare`] has enabled `faulthandler`.
static ENABLED: AtomicBool = AtomicBool::new(false);

/// Largest part of the file that is read, bytes.
const LIMIT: u64 = 64 << 10;

/// Creates the file and makes crashes write to it, unless the application has enabled `faulthandler` itself.
///
/// # Errors
/// Those of memfd_create(2) and of the interpreter.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    let file = stream::memory_file("ruwsgi-stacks")?;
    stream::append_only(&file)?;
    let fd = file.as_raw_fd();
    // each process becomes a worker once
    let _ = FILE.set(Mutex::new(file));
    let faulthandler = py.import("faulthandler")?;
    if !faulthandler.call_method0("is_enabled")?.is_truthy()? {
        faulthandler.call_method("enable", (), Some(&options(py, fd)?))?;
        ENABLED.store(true, Relaxed);
    }
    Ok(())
}

/// In a child that the application has forked: its crash is not the worker's.
pub fn forget(py: Python<'_>) {
    if ENABLED.swap(false, Relaxed)
        && let Ok(faulthandler) = py.import("faulthandler")
    {
        // a failure leaves the handler as it is
        let _ = faulthandler.call_method0("disable");
    }
}

/// In a child that the application has forked: restores the signal of [`write_on_signal`].
pub fn forget_signal(py: Python<'_>, signal: i32) {
    if let Ok(faulthandler) = py.import("faulthandler") {
        // as above
        let _ = faulthandler.call_method1("unregister", (signal,));
    }
}

/// Makes a signal write the stacks, also while native code holds the interpreter.
///
/// # Errors
/// Those of the interpreter.
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

/// Calls `run` with the file's descriptor, for the master; `None` if there is no file.
pub fn with_descriptor<T>(run: impl FnOnce(Option<BorrowedFd<'_>>) -> T) -> T {
    let file = file();
    run(file.as_ref().map(|file| file.as_fd()))
}

/// Replaces the file's content by these stacks.
pub fn keep(text: &str) {
    if let Some(mut file) = file() {
        // on failure the master's report lacks the stacks; the log has them already
        let _ = file
            .set_len(0)
            .and_then(|()| file.write_all(text.as_bytes()));
    }
}

/// Writes the stacks by the signal and reads them. Call it while native code holds the interpreter: no Python frame
/// changes meanwhile.
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
