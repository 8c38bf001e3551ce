//! Forks a worker so that it becomes the master's child, and ends the processes that the application forks.
//!
//! The zygote forks an intermediate process, which forks the worker and exits. The kernel gives the orphaned worker to its
//! nearest ancestor that is a child subreaper (PR_SET_CHILD_SUBREAPER of prctl(2)): the master.

use std::io::{self, Read, Write};

use pyo3::exceptions::PySystemExit;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyCFunction;
use ruwsgi::sys::{fork_guard, thread};

use crate::{deadline, python, stacks};

/// Forks a worker, with CPython's fork hooks, which reseed `random` among others. Returns in both processes; the result is
/// the worker's process id in the zygote, and 0 in the worker. The worker calls `begin` before any Python runs in it, and
/// exits if that returns false.
///
/// # Errors
/// Those of pipe(2) and of either fork(2).
pub fn double(py: Python<'_>, begin: impl FnOnce() -> bool) -> io::Result<i32> {
    let (mut reader, mut writer) = io::pipe()?;
    // SAFETY: the interpreter is attached, and each BeforeFork below is followed by its After in either process.
    unsafe { ffi::PyOS_BeforeFork() };
    // SAFETY: the intermediate process only forks again, writes and exits.
    match fork_guard::exempt(|| unsafe { thread::fork() }) {
        Err(error) => {
            // SAFETY: as above.
            unsafe { ffi::PyOS_AfterFork_Parent() };
            Err(error)
        }
        Ok(0) => {
            // SAFETY: forked from the only thread that is attached; see `zygote.rs` on threads of the application.
            let result = fork_guard::exempt(|| unsafe { thread::fork() });
            if let Ok(0) = result {
                drop((reader, writer));
                if !begin() {
                    thread::exit_now(0);
                }
                // SAFETY: as above; this is the worker.
                unsafe { ffi::PyOS_AfterFork_Child() };
                return Ok(0);
            }
            let word = match result {
                Ok(pid) => pid,
                Err(error) => -error.raw_os_error().unwrap_or(libc::EAGAIN),
            };
            // a failure means that the zygote is gone
            let _ = writer.write_all(&word.to_ne_bytes());
            thread::exit_now(0)
        }
        Ok(intermediate) => {
            // SAFETY: as above; this is the zygote.
            unsafe { ffi::PyOS_AfterFork_Parent() };
            drop(writer);
            let mut word = [0u8; 4];
            let result = py.detach(|| {
                let result = reader.read_exact(&mut word);
                thread::wait_for(intermediate);
                result
            });
            result?;
            match i32::from_ne_bytes(word) {
                errno @ ..0 => Err(io::Error::from_raw_os_error(-errno)),
                pid => Ok(pid),
            }
        }
    }
}

/// Ends the calling process if the application has forked it: it has left the application's code, and must not go on as a
/// zygote or a worker. As with `os._exit`, no `atexit` function runs, but output is flushed. `error` is the exception that
/// has left the application; the exit status is that of a Python program that it ends.
#[inline]
pub fn end_child(py: Python<'_>, error: Option<&PyErr>) {
    if fork_guard::is_forked() {
        let status = error.map_or(0, |error| exit_status(py, error));
        python::flush(py);
        thread::exit_now(status);
    }
}

/// The exit status of a program that an exception ends. Prints what Python would print.
fn exit_status(py: Python<'_>, error: &PyErr) -> i32 {
    if !error.is_instance_of::<PySystemExit>(py) {
        error.print(py);
        return 1;
    }
    let Ok(code) = error.value(py).getattr("code") else {
        return 1;
    };
    if code.is_none() {
        return 0;
    }
    code.extract().unwrap_or_else(|_| {
        // a text instead of a number goes to standard error
        let text = code
            .str()
            .map_or_else(|_| String::new(), |text| text.to_string());
        eprintln!("{text}");
        1
    })
}

/// Has Python's own forks restore in the child what `prepare` of a worker has set in the interpreter.
///
/// # Errors
/// Those of the interpreter.
pub fn restore_in_children(py: Python<'_>) -> PyResult<()> {
    let restore = PyCFunction::new_closure(py, None, None, |args, _| {
        stacks::forget(args.py());
        deadline::forget(args.py());
    })?;
    let hooks = pyo3::types::PyDict::new(py);
    hooks.set_item("after_in_child", restore)?;
    py.import("os")?
        .call_method("register_at_fork", (), Some(&hooks))?;
    Ok(())
}
