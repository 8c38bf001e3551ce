//! The life of a mule: a process that serves no requests. It handles messages and signals, or runs a program.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pyo3::exceptions::{PyRuntimeError, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict};
use ruwsgi::ipc::{self, AppSpec, FromWorker, ToWorker};
use ruwsgi::shared::running_signal::ThreadPlace;
use ruwsgi::shared::scoreboard::Scoreboard;
use ruwsgi::sys::private_fd::PrivateFd;
use ruwsgi::sys::thread;
use ruwsgi::sys::wakeup::Wakeup;

use crate::api::{mules, signals, uwsgi_module};
use crate::load::{self, Apps};
use crate::worker::Setup;
use crate::{fork, python};

/// Parameters of a new mule.
pub struct MuleStart {
    /// The mule's id, from 1.
    pub id: u32,
    /// The mule's row of the scoreboard.
    pub row: u32,
    /// The socket to the master.
    pub link: PrivateFd,
    /// The state that all processes of the generation share.
    pub setup: Setup,
}

/// Runs a mule on the process's main thread, right after the fork; returns the exit status.
pub fn run(py: Python<'_>, start: MuleStart, apps: Option<Apps>) -> i32 {
    let MuleStart {
        id,
        row,
        link,
        setup,
    } = start;
    let Setup { spec, board, .. } = setup;
    ruwsgi::log::rename(format!("mule {id}"));
    python::set_title(&spec, &format!("mule {id}"));
    set_pid(&board, row);
    let wakeup = match Wakeup::new() {
        Ok(wakeup) => Arc::new(wakeup),
        Err(error) => return failed(id, "it cannot create its eventfd", &error.to_string()),
    };
    mules::become_mule(id, &wakeup);
    let (board, link) = (Arc::new(board), Arc::new(link));
    signals::become_mule(&board, row);
    if apps.is_none()
        && let Err(failure) = load::load(py, &spec)
    {
        // a failure means that the master is gone
        let _ = ipc::send(link.as_fd(), &FromWorker::Failed(failure), &[]);
        return ruwsgi::exit::NO_APP;
    }
    if let Err(error) = stop_by_signal(py) {
        return failed(
            id,
            "it cannot install its signal handler",
            &error.to_string(),
        );
    }
    let has_program = spec
        .mules
        .get(id as usize - 1)
        .is_some_and(|it| !it.is_empty());
    let reader = link.clone();
    let main_thread = thread::id();
    let mercy = Duration::from_millis(spec.serving.mercy_ms);
    let started = thread::without_signals(|| {
        std::thread::Builder::new()
            .name("link".into())
            .spawn(move || follow(&reader, main_thread, has_program, mercy))
    });
    if let Err(error) = started {
        return failed(id, "it cannot start its thread", &error.to_string());
    }
    let result = serve(py, &spec, id, &link, &(board, row));
    let status = match &result {
        Ok(()) => 0,
        Err(error) => {
            fork::end_child(py, Some(error));
            end(py, id, error)
        }
    };
    if let Err(error) = uwsgi_module::call_atexit(py) {
        log_exception(py, id, "the atexit hook raised an exception", &error);
    }
    status
}

/// Writes the process id to the mule's row of the scoreboard.
fn set_pid(board: &Scoreboard, row: u32) {
    if let Some(row) = board.worker(row) {
        row.pid.store(std::process::id().cast_signed(), Relaxed);
    }
}

fn failed(id: u32, what: &str, why: &str) -> i32 {
    tracing::error!("mule {id} cannot start: {what}: {why}");
    ruwsgi::exit::FAILED
}

/// The exit status of a mule whose code has ended with `error`. Logs the error unless it is SystemExit.
fn end(py: Python<'_>, id: u32, error: &PyErr) -> i32 {
    if error.is_instance_of::<PySystemExit>(py) {
        let code = error.value(py).getattr("code");
        return code.and_then(|code| code.extract()).unwrap_or(0);
    }
    log_exception(py, id, "its program raised an exception", error);
    1
}

fn log_exception(py: Python<'_>, id: u32, what: &str, error: &PyErr) {
    ruwsgi::log::block(
        tracing::Level::ERROR,
        &format!("mule {id} (pid {}): {what}", std::process::id()),
        &python::traceback(py, error),
    );
}

/// Makes SIGTERM raise SystemExit, unless the application has its own handler for SIGTERM.
fn stop_by_signal(py: Python<'_>) -> PyResult<()> {
    if thread::handles(libc::SIGTERM) {
        return Ok(());
    }
    let handler = PyCFunction::new_closure(py, None, None, |_, _| -> PyResult<()> {
        Err(PySystemExit::new_err(0))
    })?;
    py.import("signal")?
        .call_method1("signal", (libc::SIGTERM, handler))?;
    Ok(())
}

/// Performs the master's commands until the mule must stop. A mule with a program then gets SIGTERM. A mule without a
/// program stops after its current message. If the master is gone, the process ends after `mercy`.
fn follow(link: &PrivateFd, main_thread: i32, has_program: bool, mercy: Duration) {
    let mut is_orphan = false;
    loop {
        match ipc::receive::<ToWorker>(link.as_fd()) {
            Ok(Some((ToWorker::Signals, _))) => mules::wake(),
            Ok(Some((ToWorker::Log, fds))) => ruwsgi::sys::stdio::write_output_to_first(fds),
            Ok(Some((ToWorker::Retire | ToWorker::Stop, _))) => break,
            Ok(None) | Err(_) => {
                is_orphan = true;
                break;
            }
            Ok(Some(_)) => {}
        }
    }
    mules::stop();
    if has_program {
        thread::signal(main_thread, libc::SIGTERM);
    }
    if is_orphan {
        std::thread::sleep(mercy);
        thread::exit_now(ruwsgi::exit::FAILED);
    }
}

/// Calls the post-fork hook, reports that the mule is ready, and runs its program or handles its messages.
fn serve(
    py: Python<'_>,
    spec: &AppSpec,
    id: u32,
    link: &PrivateFd,
    place: &(Arc<Scoreboard>, u32),
) -> PyResult<()> {
    ipc::send(link.as_fd(), &FromWorker::Ready, &[])?;
    let hooked = uwsgi_module::call_post_fork_hook(py);
    fork::end_child(py, hooked.as_ref().err());
    if let Err(error) = hooked {
        if error.is_instance_of::<PySystemExit>(py) {
            return Err(error);
        }
        log_exception(py, id, "the post-fork hook raised an exception", &error);
    }
    match spec.mules.get(id as usize - 1).map(String::as_str) {
        None | Some("") => handle_messages(py, id, place),
        Some(program) => run_program(py, program),
    }
}

/// Runs the program of a mule: a Python file as `__main__`, or a function given as `module:function`.
fn run_program(py: Python<'_>, program: &str) -> PyResult<()> {
    if let Some((module, function)) = program.split_once(':') {
        return py.import(module)?.getattr(function)?.call0().map(drop);
    }
    let options = PyDict::new(py);
    options.set_item("run_name", "__main__")?;
    let runpy = py.import("runpy")?;
    if program.ends_with(".py") || std::path::Path::new(program).exists() {
        runpy.call_method("run_path", (program,), Some(&options))?;
    } else {
        runpy.call_method("run_module", (program,), Some(&options))?;
    }
    Ok(())
}

/// Calls `uwsgi.mule_msg_hook` with each message, until the mule has to stop.
fn handle_messages(py: Python<'_>, id: u32, place: &(Arc<Scoreboard>, u32)) -> PyResult<()> {
    let (board, row) = place;
    let place = ThreadPlace {
        row: *row,
        thread: 0,
    };
    loop {
        let Some(message) = mules::next_message(py)? else {
            continue;
        };
        board.begin_message(place);
        let handled = handle(py, &message);
        fork::end_child(py, handled.as_ref().err());
        board.end_message(place);
        match handled {
            Ok(()) => {}
            Err(error) if error.is_instance_of::<PySystemExit>(py) => return Err(error),
            Err(error) => log_exception(py, id, "exception in mule_msg_hook", &error),
        }
    }
}

fn handle(py: Python<'_>, message: &[u8]) -> PyResult<()> {
    let hook = py.import("uwsgi")?.dict().get_item("mule_msg_hook")?;
    let Some(hook) = hook.filter(|hook| !hook.is_none()) else {
        return Err(PyRuntimeError::new_err(
            "a message has arrived, and uwsgi.mule_msg_hook is not set",
        ));
    };
    hook.call1((pyo3::types::PyBytes::new(py, message),))
        .map(drop)
}
