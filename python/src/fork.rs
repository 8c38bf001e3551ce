//! Forks workers that become children of the master, and ends child processes of the application that leave its code.
//!
//! The zygote forks an intermediate process, which forks the worker and exits. The kernel gives the orphaned worker to
//! its nearest ancestor that is a child subreaper (PR_SET_CHILD_SUBREAPER of prctl(2)): the master.

use std::io::{self, Read, Write};

use pyo3::exceptions::PySystemExit;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyCFunction;
use ruwsgi::sys::{fork_guard, thread};

use crate::{deadline, python, stacks};

/// Forks the calling process, and runs CPython's fork hooks for the parent. Returns the child's process id in the
/// parent, and 0 in the child. No hook has run in the child yet.
///
/// # Errors
/// Returns the error of fork(2).
///
/// # Safety
/// The child must call [`enter_child`] before it uses the interpreter. If the process has several threads, the child
/// may call only async-signal-safe functions.
pub unsafe fn single(_: Python<'_>) -> io::Result<i32> {
    // SAFETY: the interpreter is attached, and each process calls the matching PyOS_AfterFork function or does not use
    // the interpreter.
    unsafe { ffi::PyOS_BeforeFork() };
    // SAFETY: the caller guarantees the conditions of the section `Safety` above.
    let result = fork_guard::exempt(|| unsafe { thread::fork() });
    if !matches!(result, Ok(0)) {
        // SAFETY: PyOS_BeforeFork was called above; this is the parent.
        unsafe { ffi::PyOS_AfterFork_Parent() };
    }
    result
}

/// Runs CPython's fork hooks for the child of [`single`], or for a child of that child.
///
/// # Safety
/// [`single`] must have forked the calling process or its parent. The calling process must not have called this
/// function before.
pub unsafe fn enter_child(_: Python<'_>) {
    // SAFETY: `single` has called PyOS_BeforeFork in an ancestor of this process.
    unsafe { ffi::PyOS_AfterFork_Child() };
}

/// Forks a worker and runs CPython's fork hooks, which for example reseed `random`. Returns in two processes: in the
/// zygote with the worker's process id, and in the worker with 0. The zygote first waits until the intermediate process
/// has exited. The worker calls `begin` before it runs any Python code, and exits if `begin` returns false.
///
/// # Errors
/// Returns the error of pipe(2), of one of the two fork(2) calls, or of reading the worker's process id from the pipe.
pub fn double(py: Python<'_>, begin: impl FnOnce() -> bool) -> io::Result<i32> {
    let (mut reader, mut writer) = io::pipe()?;
    // SAFETY: the intermediate process only forks again, writes and exits. The worker calls `enter_child`.
    match unsafe { single(py) }? {
        0 => {
            // SAFETY: only the thread that forked exists in this process; `fork_safety.rs` warns of the application's
            // threads.
            let result = fork_guard::exempt(|| unsafe { thread::fork() });
            if let Ok(0) = result {
                drop((reader, writer));
                if !begin() {
                    thread::exit_now(0);
                }
                // SAFETY: the parent of this process was forked by `single`.
                unsafe { enter_child(py) };
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
        intermediate => {
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

/// Ends the calling process if the application has forked it. Such a process has left the application's code, and must
/// not continue as a zygote or a worker. As with `os._exit`, no `atexit` function runs, but Python's streams are
/// flushed. If `error` is set, it has ended the application's code. The exit status is that of a Python program that
/// ends with `error`.
#[inline]
pub fn end_child(py: Python<'_>, error: Option<&PyErr>) {
    if fork_guard::is_forked() {
        let status = error.map_or(0, |error| exit_status(py, error));
        python::flush(py);
        thread::exit_now(status);
    }
}

/// Returns the exit status of a Python program that ends with `error`. Prints the text that Python would print.
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
        // `sys.exit` with a text instead of a number prints the text to standard error
        let text = code
            .str()
            .map_or_else(|_| String::new(), |text| text.to_string());
        eprintln!("{text}");
        1
    })
}

/// Registers a function with `os.register_at_fork` that removes the worker's crash and signal handlers
/// (`stacks::prepare`, `deadline::prepare`) in each child that Python code forks.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter.
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
