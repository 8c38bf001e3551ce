//! The traceback server of a worker (`py-tracebacker`): a Unix socket on which a client gets the Python stacks of all
//! threads, in uWSGI's format.

use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyModule;
use ruwsgi::sys::private_fd::PrivateFd;
use ruwsgi::sys::{stream, thread};

use crate::worker::Worker;

/// Maximum time that a client waits for the interpreter.
const INTERPRETER_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum time that a write waits for a client that reads nothing.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept(2), for example because the process has too many descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// Python function that formats the stacks of all threads except the calling thread, whose identifier is `own`. Frames
/// of the file `<string>` are left out, because they belong to the code that has started the worker.
const STACKS: &str = r#"
def stacks(slot, own):
    import sys, threading, traceback
    names = {ident: thread.name for ident, thread in list(threading._active.items())}
    text = ["*** uWSGI Python tracebacker output ***\n\n"]
    for ident, frame in sys._current_frames().items():
        name = names.get(ident, ident)
        if name == "MainThread":
            name = "uWSGIWorker%dCore0" % slot
        lines = [
            "thread_id = %s filename = %s lineno = %s function = %s line = %s\n" % (name, it.filename, it.lineno, it.name, it.line)
            for it in traceback.extract_stack(frame) if it.filename != "<string>"
        ]
        if lines and ident != own:
            text.extend(lines)
            text.append("\n")
    return "".join(text)
"#;

/// The socket of a running server. Dropping the value removes the socket's file, unless another worker has replaced it.
pub struct Tracebacker {
    path: PathBuf,
    file: (u64, u64),
}

impl Drop for Tracebacker {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            // if the file cannot be removed, the next worker replaces it
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Starts the server if `py-tracebacker` is set. The path of its socket is the option's value with the worker's id
/// appended. A failure is logged and returns `None`.
pub fn start(worker: &Arc<Worker>) -> Option<Tracebacker> {
    let path = worker.spec.worker.py_tracebacker.as_ref()?;
    let path = PathBuf::from(format!("{path}{}", worker.id));
    match open(worker, &path) {
        Ok(file) => {
            tracing::info!(
                "worker {}: its Python stacks are at {} (py-tracebacker)",
                worker.id,
                path.display()
            );
            Some(Tracebacker { path, file })
        }
        Err(error) => {
            tracing::warn!(
                "worker {}: py-tracebacker cannot listen on {}: {error}",
                worker.id,
                path.display()
            );
            None
        }
    }
}

fn open(worker: &Arc<Worker>, path: &Path) -> io::Result<(u64, u64)> {
    // a socket at the path belongs to an earlier worker and is removed
    if std::fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    let listener = PrivateFd::from(OwnedFd::from(UnixListener::bind(path)?));
    let file = identity(path)?;
    let worker = worker.clone();
    let builder = std::thread::Builder::new().name("tracebacker".into());
    thread::without_signals(|| builder.spawn(move || serve(&worker, &listener)))?;
    Ok(file)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Sends the stacks to one client after the other, until the process ends.
fn serve(worker: &Arc<Worker>, listener: &PrivateFd) {
    let waiting = Arc::new(AtomicBool::new(false));
    loop {
        let Ok(client) = stream::accept(listener.as_raw_fd()) else {
            std::thread::sleep(PAUSE);
            continue;
        };
        let mut client = UnixStream::from(client);
        let text = stacks(worker.id, &waiting);
        // an error means that the client is gone or does not read, and is ignored
        let _ = client
            .set_nonblocking(false)
            .and_then(|()| client.set_write_timeout(Some(CLIENT_TIMEOUT)))
            .and_then(|()| client.write_all(text.as_bytes()));
    }
}

/// Returns the stacks, or a message that says why they cannot be read. Waits for the interpreter in a new thread. At
/// most one such thread exists: `waiting` is true while it waits.
fn stacks(slot: u32, waiting: &Arc<AtomicBool>) -> String {
    let held = "native code holds the interpreter, so no Python stack can be read\n".to_owned();
    if waiting.swap(true, SeqCst) {
        return held;
    }
    let (sender, receiver) = mpsc::channel();
    let done = waiting.clone();
    let format = move || {
        let text = Python::try_attach(|py| format_stacks(py, slot));
        done.store(false, SeqCst);
        // after the timeout nothing receives the text, and the text is dropped
        let _ = sender.send(text);
    };
    let builder = std::thread::Builder::new();
    if let Err(error) = thread::without_signals(|| builder.spawn(format)) {
        waiting.store(false, SeqCst);
        return format!("a thread cannot be started: {error}\n");
    }
    match receiver.recv_timeout(INTERPRETER_TIMEOUT) {
        Ok(Some(Ok(text))) => text,
        Ok(Some(Err(error))) => format!("the stacks cannot be read: {error}\n"),
        Ok(None) => "the interpreter ends\n".to_owned(),
        Err(_) => held,
    }
}

fn format_stacks(py: Python<'_>, slot: u32) -> PyResult<String> {
    let code = std::ffi::CString::new(STACKS)?;
    let module = PyModule::from_code(py, &code, c"<string>", c"_ruwsgi_tracebacker")?;
    // SAFETY: PyThread_get_thread_ident has no preconditions.
    let own = unsafe { ffi::PyThread_get_thread_ident() };
    module.call_method1("stacks", (slot, own))?.extract()
}
