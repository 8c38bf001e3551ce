//! Makes the children that the application forks ordinary processes.
//!
//! A child of fork(2) inherits the worker's descriptors and signal handlers. The pthread_atfork(3) handlers below run
//! in each fork(2) of the C library, even if native code calls it. In the child they close the [private
//! descriptors](super::private_fd) and restore the signal dispositions and the descriptor limit. vfork(2) and
//! posix_spawn(3) do not run the handlers; their children call exec at once.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::signal::SigmaskHow;

use super::{private_fd, rlimit, thread};

/// Whether the application has forked this process.
static FORKED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread is about to fork a process of ruwsgi. The handlers do nothing then.
    static EXEMPT: Cell<bool> = const { Cell::new(false) };
    /// The thread's signal mask before the fork. It is restored after the fork.
    static MASK: Cell<Option<SigSet>> = const { Cell::new(None) };
}

/// Installs the pthread_atfork(3) handlers. Children inherit them, so each program calls this once.
///
/// # Errors
/// Those of pthread_atfork(3).
pub fn install() -> io::Result<()> {
    // SAFETY: the three functions stay valid, because the library is never unloaded. They are async-signal-safe: system
    // calls, atomics, and thread-locals without a destructor.
    let errno = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    match errno {
        0 => Ok(()),
        errno => Err(Errno::from_raw(errno).into()),
    }
}

/// Whether the application has forked this process. Such a process must not serve.
#[inline]
pub fn is_forked() -> bool {
    FORKED.load(SeqCst)
}

/// Runs `fork` without the handlers: its child keeps the private descriptors and the signal handlers.
pub fn exempt<T>(fork: impl FnOnce() -> T) -> T {
    EXEMPT.set(true);
    let result = fork();
    EXEMPT.set(false);
    result
}

/// Blocks all signals before the fork. A signal that reached the child before its dispositions are restored would be
/// lost.
extern "C" fn before() {
    if !EXEMPT.get() {
        MASK.set(SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).ok());
    }
}

extern "C" fn in_parent() {
    restore_mask();
}

extern "C" fn in_child() {
    if EXEMPT.get() {
        return;
    }
    FORKED.store(true, SeqCst);
    private_fd::take_all(|fd| {
        let _ = nix::unistd::close(fd);
    });
    thread::restore_dispositions();
    let _ = rlimit::restore_descriptors();
    restore_mask();
}

fn restore_mask() {
    if let Some(mask) = MASK.take() {
        let _ = mask.thread_set_mask();
    }
}
