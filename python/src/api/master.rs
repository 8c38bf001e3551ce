//! Sends messages of the module `uwsgi` to the master.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering::SeqCst};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use ruwsgi::ipc::{self, FromWorker, FromZygote, SignalRequest};
use ruwsgi::sys::fork_guard;
use ruwsgi::sys::private_fd::PrivateFd;

/// The descriptor of this process's channel to the master; -1 without one.
static CHANNEL: AtomicI32 = AtomicI32::new(-1);
/// Which messages this process may send: [`NONE`], [`ZYGOTE`] or [`WORKER`].
static SENDER: AtomicU8 = AtomicU8::new(NONE);

const NONE: u8 = 0;
const ZYGOTE: u8 = 1;
const WORKER: u8 = 2;

/// Records that this process is the zygote, and records the channel to the master. The channel stays open until the
/// process exits or becomes a worker.
pub fn use_zygote(channel: &PrivateFd) {
    set(channel.as_raw_fd(), ZYGOTE);
}

/// Records that this process is a worker, and records the link to the master. The link stays open until the process
/// exits.
pub fn use_worker(link: &PrivateFd) {
    set(link.as_raw_fd(), WORKER);
}

/// Records that this process sends no messages, because it only imports the application for a trial.
pub fn use_none() {
    set(-1, NONE);
}

fn set(fd: RawFd, sender: u8) {
    SENDER.store(NONE, SeqCst);
    CHANNEL.store(fd, SeqCst);
    SENDER.store(sender, SeqCst);
}

/// Whether this process is the zygote.
pub fn is_zygote() -> bool {
    SENDER.load(SeqCst) == ZYGOTE
}

/// Sends a request about a signal to the master. A process that imports the application for a trial sends nothing.
///
/// # Errors
/// RuntimeError in a process that the application has forked; OSError if the message cannot be sent.
pub fn send_signal_request(py: Python<'_>, request: SignalRequest) -> PyResult<()> {
    if fork_guard::is_forked() {
        return Err(PyRuntimeError::new_err(
            "this process was forked by the application: it has no connection to the master",
        ));
    }
    let sender = SENDER.load(SeqCst);
    if sender == NONE {
        return Ok(());
    }
    let fd = CHANNEL.load(SeqCst);
    let sent = py.detach(|| {
        // SAFETY: the channel is open (`use_zygote`, `use_worker`), because the application has not forked this process.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        match sender {
            ZYGOTE => ipc::send(fd, &FromZygote::Signal(request), &[]),
            _ => ipc::send(fd, &FromWorker::Signal(request), &[]),
        }
    });
    sent.map_err(Into::into)
}
