//! Imports the application for a trial before a reload with `lazy-apps`. If the code cannot be loaded, the reload fails
//! before an old worker leaves.

use std::io;
use std::os::fd::AsFd;

use pyo3::prelude::*;
use ruwsgi::ipc::{self, AppSpec, FromZygote, LoadFailure};
use ruwsgi::sys::signal::Signal;
use ruwsgi::sys::{packet, process, thread};

use crate::api::master;
use crate::{fork, load, python};

/// Beginnings of the last line of a traceback whose cause may be a port or a lock that an old worker holds. The trial
/// ignores such failures. The workers are replaced one after the other, so the import may succeed later.
const CONFLICTS: [&str; 2] = ["OSError: [Errno 98]", "BlockingIOError:"];

/// Imports the application in a child process and waits until the child exits. If the trial itself cannot be carried
/// out, logs a warning and returns `Ok`.
///
/// # Errors
/// Returns the failure of the import, unless an old worker may have caused it.
pub fn run(py: Python<'_>, spec: &AppSpec) -> Result<(), LoadFailure> {
    let failure = match import_in_child(py, spec) {
        Ok(Some(FromZygote::Failed(failure))) => failure,
        Ok(Some(_)) => return Ok(()),
        Ok(None) => LoadFailure::from(
            "the interpreter exited while it loaded the application for a trial (lazy-apps)"
                .to_owned(),
        ),
        Err(error) => {
            tracing::warn!("the application cannot be imported for a trial: {error}");
            return Ok(());
        }
    };
    let last = failure.traceback.trim_end().lines().next_back();
    match last.is_some_and(|line| CONFLICTS.iter().any(|it| line.starts_with(it))) {
        true => Ok(()),
        false => Err(failure),
    }
}

/// Ends the processes that the import has started, for example those of `multiprocessing`. They belong to the trial;
/// each worker imports the application again.
fn end_children() {
    for child in process::children() {
        // a failure means that the child has ended
        let _ = process::signal(child, Signal::SIGTERM);
    }
}

/// Forks the child and returns its answer; `None` if the child exits without an answer.
fn import_in_child(py: Python<'_>, spec: &AppSpec) -> io::Result<Option<FromZygote>> {
    let (ours, theirs) = packet::pair()?;
    // SAFETY: the calling thread is the only thread, unless a `shared-import` has started others. The child calls
    // `enter_child`.
    match unsafe { fork::single(py) }? {
        0 => {
            // SAFETY: this process was forked by `single`.
            unsafe { fork::enter_child(py) };
            drop(ours);
            master::use_none();
            // after a failure, the child may run until its import ends, even if the zygote exits before
            let _ = thread::die_with_parent();
            let answer = match load::load(py, spec) {
                Ok(_) => FromZygote::Loaded,
                Err(failure) => FromZygote::Failed(failure),
            };
            // a failure means that the zygote is gone
            let _ = ipc::send(theirs.as_fd(), &answer, &[]);
            python::flush(py);
            end_children();
            thread::exit_now(0)
        }
        child => {
            drop(theirs);
            py.detach(|| {
                let answer = ipc::receive(ours.as_fd());
                thread::wait_for(child);
                Ok(answer?.map(|(answer, _)| answer))
            })
        }
    }
}
