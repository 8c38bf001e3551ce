//! A worker that runs a Python program instead of serving requests (`python-worker-override`, `pyshell`).
//!
//! The program has the interpreter's main thread. A thread that runs no Python code reads the messages from the master.
//! When the worker has to exit, the program gets SIGTERM, which raises SystemExit unless the program has its own
//! handler.

use std::io::IsTerminal;
use std::os::fd::{AsFd, IntoRawFd};
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use pyo3::types::PyCFunction;
use ruwsgi::ipc::{self, FromWorker, ToWorker, WorkerProgram};
use ruwsgi::sys::private_fd::PrivateFd;
use ruwsgi::sys::{stdio, thread};

use crate::api::uwsgi_module;
use crate::worker::WorkerStart;
use crate::{fork, import_resources, python, script, start_watch};

/// The signals that end a program without a handler of its own.
const EXIT_SIGNALS: [i32; 4] = [libc::SIGHUP, libc::SIGTERM, libc::SIGINT, libc::SIGQUIT];

/// Runs the program of a worker; returns the exit status of the process.
pub fn run(py: Python<'_>, start: WorkerStart, program: &WorkerProgram) -> i32 {
    let id = start.id;
    let link = Arc::new(start.link);
    let send = |message| ipc::send(link.as_fd(), &message, &[]);
    let prepared = share_sockets(py, &start.setup.listeners).and_then(|()| exit_by_signal(py));
    if let Err(error) = prepared.and_then(|()| start_watch::remove(py)) {
        tracing::error!("worker {id} cannot run its program: {error}");
        return ruwsgi::exit::FAILED;
    }
    if send(FromWorker::Ready).is_err() || (start.hold && !is_to_serve(&link)) {
        return ruwsgi::exit::FAILED;
    }
    let mercy = Duration::from_millis(start.setup.spec.serving.mercy_ms);
    if let Err(error) = listen_to_master(&link, mercy) {
        tracing::error!("worker {id} cannot run its program: {error}");
        return ruwsgi::exit::FAILED;
    }
    run_hook(py, id, "post-fork", uwsgi_module::call_post_fork_hook(py));
    let ran = match program {
        WorkerProgram::File(path) => script::execute_file(py, path),
        WorkerProgram::Shell(code) | WorkerProgram::ShellOnce(code) => {
            use_terminal();
            match code.as_str() {
                "" => script::shell(py),
                code => script::execute_text(py, code),
            }
        }
    };
    let status = script::status_of(py, ran.err());
    // an error means that the master is gone
    let _ = send(FromWorker::Retiring);
    run_hook(py, id, "atexit", uwsgi_module::call_atexit(py));
    python::shutdown_interpreter(py);
    match status {
        ruwsgi::exit::OK => thread::exit_now(ruwsgi::exit::RETIRED),
        status => thread::exit_now(status),
    }
}

/// Sets `uwsgi.sockets`: the descriptors of the listening sockets, for the program and the processes that it forks.
fn share_sockets(py: Python<'_>, listeners: &[PrivateFd]) -> PyResult<()> {
    let mut numbers = Vec::new();
    for listener in listeners {
        numbers.push(listener.as_fd().try_clone_to_owned()?.into_raw_fd());
    }
    py.import("uwsgi")?.setattr("sockets", numbers)
}

/// Makes the exit signals raise SystemExit in the program.
fn exit_by_signal(py: Python<'_>) -> PyResult<()> {
    let set = py.import("signal")?.getattr("signal")?;
    let raise = PyCFunction::new_closure(py, None, None, |_, _| -> PyResult<()> {
        Err(PySystemExit::new_err(0))
    })?;
    EXIT_SIGNALS
        .iter()
        .try_for_each(|number| set.call1((*number, &raise)).map(drop))
}

/// Waits until the master lets the worker serve; false if the master is gone or the worker has to exit.
fn is_to_serve(link: &PrivateFd) -> bool {
    loop {
        match ipc::receive::<ToWorker>(link.as_fd()) {
            Ok(Some((ToWorker::Serve, _))) => return true,
            Ok(Some((ToWorker::Retire | ToWorker::Stop, _))) | Ok(None) | Err(_) => return false,
            Ok(Some(_)) => {}
        }
    }
}

/// Starts the thread that reads the messages from the master.
fn listen_to_master(link: &Arc<PrivateFd>, mercy: Duration) -> std::io::Result<()> {
    let link = link.clone();
    let body = move || {
        loop {
            match ipc::receive::<ToWorker>(link.as_fd()) {
                Ok(Some((ToWorker::Retire | ToWorker::Stop, _))) => ask_to_exit(),
                Ok(Some((ToWorker::Log, fds))) => stdio::write_output_to_first(fds),
                Ok(Some((ToWorker::Release, _))) => {
                    import_resources::release();
                    // an error means that the master is gone, which the next receive reports
                    let _ = ipc::send(link.as_fd(), &FromWorker::Released, &[]);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        ask_to_exit();
        std::thread::sleep(mercy);
        thread::exit_now(ruwsgi::exit::FAILED);
    };
    let builder = std::thread::Builder::new().name("ruwsgi-link".to_owned());
    // signals are blocked in the new thread, so the main thread receives them and the program handles them there
    thread::without_signals(|| builder.spawn(body)).map(drop)
}

fn ask_to_exit() {
    // SAFETY: kill takes two numbers and touches no memory.
    unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
}

/// Writes the output of a shell to its terminal, if the log goes elsewhere.
fn use_terminal() {
    let input = std::io::stdin();
    if input.is_terminal() && !std::io::stdout().is_terminal() {
        // on failure the output goes to the log
        let _ = stdio::write_output_to(&input);
    }
}

fn run_hook(py: Python<'_>, id: u32, hook: &str, result: PyResult<()>) {
    fork::end_child(py, result.as_ref().err());
    if let Err(error) = result {
        python::log_hook_failure(py, id, hook, &error);
    }
}
