//! The stacks of all threads, for the record of the worker's death: in a file in memory that the master reads when
//! the worker has gone. A crash writes them there by faulthandler(3); so does the end of a request (`harakiri`).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use ruwsgi::sys::{stream, thread};

/// Where they are written; the master has a descriptor of it.
static FILE: OnceLock<Mutex<File>> = OnceLock::new();

/// The most of them that is read, bytes.
const MOST: u64 = 64 << 10;

/// Makes the file, and has crashes write there, unless the application has them written elsewhere.
///
/// # Errors
/// Those of memfd_create(2) and of the interpreter.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    let file = stream::memory_file("ruwsgi-stacks")?;
    stream::append_only(&file)?;
    let fd = file.as_raw_fd();
    // set once: a worker has one life
    let _ = FILE.set(Mutex::new(file));
    let faulthandler = py.import("faulthandler")?;
    if !faulthandler.call_method0("is_enabled")?.is_truthy()? {
        faulthandler.call_method("enable", (), Some(&to(py, fd)?))?;
    }
    Ok(())
}

/// Has this signal write them, also while native code keeps the interpreter to itself.
///
/// # Errors
/// Those of the interpreter.
pub fn write_on_signal(py: Python<'_>, signal: i32) -> PyResult<()> {
    let Some(file) = file() else { return Ok(()) };
    let options = to(py, file.as_raw_fd())?;
    py.import("faulthandler")?
        .call_method("register", (signal,), Some(&options))?;
    Ok(())
}

fn to(py: Python<'_>, fd: i32) -> PyResult<Bound<'_, PyDict>> {
    let options = PyDict::new(py);
    options.set_item("file", fd)?;
    options.set_item("all_threads", true)?;
    Ok(options)
}

fn file() -> Option<MutexGuard<'static, File>> {
    let file = FILE.get()?;
    Some(file.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Runs with the file, if there is one, for the master.
pub fn with_descriptor<T>(run: impl FnOnce(Option<BorrowedFd<'_>>) -> T) -> T {
    let file = file();
    run(file.as_ref().map(|file| file.as_fd()))
}

/// Keeps a text for the record of a death.
pub fn keep(text: &str) {
    if let Some(mut file) = file() {
        // without it the record lacks them, and they are in the log already
        let _ = file
            .set_len(0)
            .and_then(|()| file.write_all(text.as_bytes()));
    }
}

/// The stacks as the signal has them written. The thread that keeps the interpreter is in native code, so the frames
/// of none are changing.
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
    file.take(MOST).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
