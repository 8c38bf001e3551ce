//! A trial of the import for a reload with `lazy-apps`: code that cannot be loaded is noticed before an old worker leaves.

use std::io;
use std::os::fd::AsFd;

use pyo3::ffi;
use pyo3::prelude::*;
use ruwsgi::ipc::{self, AppSpec, FromZygote, LoadFailure};
use ruwsgi::sys::{fork_guard, packet, thread};

use crate::{load, python};

/// What the last line of a traceback begins with if an old worker has the port or the lock that the import takes. The workers
/// change one after the other, so the import may succeed later.
const CONFLICTS: [&str; 2] = ["OSError: [Errno 98]", "BlockingIOError:"];

/// Imports the application in a child of this process, which exits then.
///
/// # Errors
/// The failure of the import.
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

/// Returns the child's answer; `None` if it exits early.
fn import_in_child(py: Python<'_>, spec: &AppSpec) -> io::Result<Option<FromZygote>> {
    let (ours, theirs) = packet::pair()?;
    // SAFETY: the interpreter is attached, and BeforeFork is followed by its After in either process.
    unsafe { ffi::PyOS_BeforeFork() };
    // SAFETY: forked from the only thread of this process, which has not run code of the application.
    match fork_guard::exempt(|| unsafe { thread::fork() }) {
        Err(error) => {
            // SAFETY: as above.
            unsafe { ffi::PyOS_AfterFork_Parent() };
            Err(error)
        }
        Ok(0) => {
            // SAFETY: as above; this is the child.
            unsafe { ffi::PyOS_AfterFork_Child() };
            drop(ours);
            // a failure means that the child outlives the zygote for the time of its import
            let _ = thread::die_with_parent();
            let answer = match load::load(py, spec) {
                Ok(_) => FromZygote::Loaded,
                Err(failure) => FromZygote::Failed(failure),
            };
            // a failure means that the zygote is gone
            let _ = ipc::send(theirs.as_fd(), &answer, &[]);
            python::flush(py);
            thread::exit_now(0)
        }
        Ok(child) => {
            // SAFETY: as above; this is the zygote.
            unsafe { ffi::PyOS_AfterFork_Parent() };
            drop(theirs);
            py.detach(|| {
                let answer = ipc::receive(ours.as_fd());
                thread::wait_for(child);
                Ok(answer?.map(|(answer, _)| answer))
            })
        }
    }
}
