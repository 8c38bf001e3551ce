//! Forking a worker so that it becomes the master's child.
//!
//! The zygote forks a middle process, which forks the worker and exits: the worker, an orphan, is adopted by the
//! master, its nearest ancestor that is a child subreaper (prctl(2)).

use std::io::{self, Read, Write};

use pyo3::ffi;
use pyo3::prelude::*;
use ruwsgi::sys::thread;

/// Which process returns.
pub enum Side {
    /// The zygote, with the worker's process id.
    Zygote(i32),
    /// The worker.
    Worker,
}

/// Forks through CPython's own hooks (they reseed `random`, among others), once for the worker.
///
/// # Errors
/// Those of pipe(2) and fork(2), of the middle process too.
pub fn double(py: Python<'_>) -> io::Result<Side> {
    let (mut told, mut teller) = io::pipe()?;
    // SAFETY: the interpreter is attached, and each BeforeFork below is followed by its After in either process.
    unsafe { ffi::PyOS_BeforeFork() };
    // SAFETY: the middle process does nothing but fork again, write and exit.
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
                drop((told, teller));
                // SAFETY: as above; this is the worker.
                unsafe { ffi::PyOS_AfterFork_Child() };
                return Ok(Side::Worker);
            }
            let word = match result {
                Ok(pid) => pid,
                Err(error) => -error.raw_os_error().unwrap_or(libc::EAGAIN),
            };
            // if the zygote is gone there is nobody to tell
            let _ = teller.write_all(&word.to_ne_bytes());
            thread::exit_now(0)
        }
        Ok(middle) => {
            // SAFETY: as above; this is the zygote.
            unsafe { ffi::PyOS_AfterFork_Parent() };
            drop(teller);
            let mut word = [0u8; 4];
            let result = py.detach(|| {
                let result = told.read_exact(&mut word);
                thread::wait_for(middle);
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
