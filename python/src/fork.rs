//! Forks a worker so that it becomes the master's child.
//!
//! The zygote forks an intermediate process, which forks the worker and exits. The kernel gives the orphaned worker to its
//! nearest ancestor that is a child subreaper (PR_SET_CHILD_SUBREAPER of prctl(2)): the master.

use std::io::{self, Read, Write};

use pyo3::ffi;
use pyo3::prelude::*;
use ruwsgi::sys::thread;

/// The process in which [`double`] returns.
pub enum Side {
    /// The zygote, with the worker's process id.
    Zygote(i32),
    /// The worker.
    Worker,
}

/// Forks a worker, with CPython's fork hooks, which reseed `random` among others.
///
/// # Errors
/// Those of pipe(2) and of either fork(2).
pub fn double(py: Python<'_>) -> io::Result<Side> {
    let (mut reader, mut writer) = io::pipe()?;
    // SAFETY: the interpreter is attached, and each BeforeFork below is followed by its After in either process.
    unsafe { ffi::PyOS_BeforeFork() };
    // SAFETY: the intermediate process only forks again, writes and exits.
    match unsafe { thread::fork() } {
        Err(error) => {
            // SAFETY: as above.
            unsafe { ffi::PyOS_AfterFork_Parent() };
            Err(error)
        }
        Ok(0) => {
            // SAFETY: forked from the only thread that is attached; see `zygote.rs` on threads of the application.
            let result = unsafe { thread::fork() };
            if let Ok(0) = result {
                drop((reader, writer));
                // SAFETY: as above; this is the worker.
                unsafe { ffi::PyOS_AfterFork_Child() };
                return Ok(Side::Worker);
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
                pid => Ok(Side::Zygote(pid)),
            }
        }
    }
}
