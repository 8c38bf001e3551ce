//! Logs the Python stack of a process that does not finish its start, when the master sends it a signal.
//!
//! `faulthandler` writes the stack to the log, even while native code runs. This needs no thread, only signal handlers
//! between [`install`] and [`remove`].

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict};
use ruwsgi::ipc::start_watch::{stack_signal, step_signal};
use ruwsgi::sys::thread;

/// Whether Python code has advanced since the last stack was written. The Python handler of the step signal sets it.
static ADVANCED: AtomicBool = AtomicBool::new(false);
/// Address of the signal handler of `faulthandler`, which writes the stack.
static WRITE_STACK: AtomicUsize = AtomicUsize::new(0);

/// Text that follows the stack if Python code has not advanced and the main thread holds the interpreter lock.
const NATIVE: &[u8] =
    b"ruwsgi: the first line of this stack has called native code, which holds the interpreter lock (GIL)\n";

unsafe extern "C" {
    /// Whether the calling thread holds the interpreter lock. (The stable ABI of pyo3 does not declare this function.)
    fn PyGILState_Check() -> libc::c_int;
}

/// Installs the signal handlers. Call it on the main thread, before the application is imported.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter.
pub fn install(py: Python<'_>) -> PyResult<()> {
    let (step, stack) = (step_signal(), stack_signal());
    // faulthandler will restore the disposition that is set here; a discarded signal that arrives late does not end the
    // process
    thread::discard(step);
    thread::discard(stack);
    let advanced = PyCFunction::new_closure(py, None, None, |_, _| ADVANCED.store(true, SeqCst))?;
    let signal = py.import("_signal")?;
    signal.call_method1("signal", (step, advanced))?;
    // after the signal, the kernel restarts a system call in which the application waits; the call does not fail with
    // EINTR
    signal.call_method1("siginterrupt", (step, false))?;
    let options = PyDict::new(py);
    options.set_item("file", 2)?;
    options.set_item("all_threads", false)?;
    py.import("faulthandler")?
        .call_method("register", (stack,), Some(&options))?;
    wrap(stack);
    Ok(())
}

/// Removes the signal handlers. Both signals are discarded from now on.
///
/// # Errors
/// Returns the Python exception of a failed call into the interpreter.
pub fn remove(py: Python<'_>) -> PyResult<()> {
    py.import("faulthandler")?
        .call_method1("unregister", (stack_signal(),))?;
    py.import("_signal")?
        .call_method1("signal", (step_signal(), libc::SIG_IGN))?;
    thread::discard(step_signal());
    thread::discard(stack_signal());
    Ok(())
}

/// Puts [`write_stack`] in front of the handler of `faulthandler`.
fn wrap(signal: i32) {
    // SAFETY: an all-zero sigaction is valid; sigaction(2) reads and writes this local variable. The new handler calls
    // the handler of faulthandler, and is async-signal-safe as far as that handler is.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let known = libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0;
        if known && action.sa_flags & libc::SA_SIGINFO == 0 {
            WRITE_STACK.store(action.sa_sigaction, SeqCst);
            action.sa_sigaction = write_stack as *const () as libc::sighandler_t;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

extern "C" fn write_stack(signal: libc::c_int) {
    let handler = WRITE_STACK.load(SeqCst);
    if handler > libc::SIG_IGN {
        // SAFETY: `wrap` has read the address from sigaction(2); it is a handler without SA_SIGINFO, which takes the
        // signal's number.
        let handler: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(handler) };
        handler(signal);
    }
    let advanced = ADVANCED.swap(false, SeqCst);
    // SAFETY: PyGILState_Check only reads the state of the calling thread.
    if !advanced && unsafe { PyGILState_Check() } == 1 {
        // SAFETY: a static buffer; write(2) is async-signal-safe.
        unsafe { libc::write(libc::STDERR_FILENO, NATIVE.as_ptr().cast(), NATIVE.len()) };
    }
}
