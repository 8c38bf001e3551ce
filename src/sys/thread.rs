//! Calls that concern one thread, or this process as a whole.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};

use crate::sys::stream;

/// The kernel's id of the calling thread.
pub fn id() -> i32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::gettid() }
}

/// Sends a signal to one thread of this process. Nothing happens if it is gone.
pub fn signal(thread: i32, signal: i32) {
    // SAFETY: plain numbers.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) };
}

/// Ends the process here and now, without any clean-up.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: does not return; that nothing is cleaned up is the point.
    unsafe { libc::_exit(status) }
}

/// Has the C library give free memory back to the kernel, so that it is not copied into children that would use it.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a plain number; any thread may call it.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Makes room for this many descriptors at once, as far as the limits allow. To be called while the process has one
/// thread: later the kernel has each growth of the table wait for all processors, some milliseconds every time.
pub fn reserve_descriptors(count: i32) {
    // SAFETY: plain numbers; the duplicate is ours and closed at once. A refusal means that the limit is lower.
    unsafe {
        let high = libc::fcntl(0, libc::F_DUPFD_CLOEXEC, count - 1);
        if high >= 0 {
            libc::close(high);
        }
    }
}

/// The host's name; empty if it cannot be had.
pub fn hostname() -> String {
    nix::unistd::gethostname().map_or_else(
        |_| String::new(),
        |name| name.to_string_lossy().into_owned(),
    )
}

static BELL: AtomicI32 = AtomicI32::new(-1);
static ASKED: AtomicBool = AtomicBool::new(false);

extern "C" fn ask(_signal: libc::c_int) {
    ASKED.store(true, SeqCst);
    stream::ring(BELL.load(SeqCst));
}

extern "C" fn interrupt(_signal: libc::c_int) {}

/// Has these signals noted (see [`take_asked`]) and the bell with this descriptor rung, where the program has not
/// set a handler of its own. The descriptor must stay open for the rest of the process's life.
pub fn note_signals(bell: i32, signals: &[i32]) {
    BELL.store(bell, SeqCst);
    for &number in signals {
        let current = disposition(number);
        if current == libc::SIG_DFL || current == libc::SIG_IGN {
            // SAFETY: the handler only stores an atomic and writes to a descriptor: async-signal-safe.
            unsafe {
                handle(
                    number,
                    ask as *const () as libc::sighandler_t,
                    libc::SA_RESTART,
                )
            };
        }
    }
}

/// Whether one of the noted signals has come since the last time.
pub fn take_asked() -> bool {
    ASKED.swap(false, SeqCst)
}

/// Makes a signal end the system call that its receiver waits in, and nothing else.
pub fn interrupt_by(number: i32) {
    // SAFETY: the handler does nothing.
    unsafe { handle(number, interrupt as *const () as libc::sighandler_t, 0) };
}

/// Ignores a signal.
pub fn ignore(number: i32) {
    // SAFETY: SIG_IGN is no code.
    unsafe { handle(number, libc::SIG_IGN, 0) };
}

/// Whether this process handles a signal.
pub fn handles(number: i32) -> bool {
    let current = disposition(number);
    current != libc::SIG_DFL && current != libc::SIG_IGN
}

/// Has the calling thread receive a signal, blocked or not, before this returns.
pub fn receive(number: i32) {
    let mut only = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: a local, filled before it is read; unblocking has no effect on memory.
    unsafe {
        libc::sigemptyset(only.as_mut_ptr());
        libc::sigaddset(only.as_mut_ptr(), number);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, only.as_ptr(), std::ptr::null_mut());
    }
    signal(id(), number);
}

/// The first real-time signal that the C library leaves to programs.
pub fn first_realtime_signal() -> i32 {
    libc::SIGRTMIN()
}

fn disposition(number: i32) -> libc::sighandler_t {
    let mut current = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: asks only, into a local; zeroed is a valid sigaction.
    unsafe {
        libc::sigaction(number, std::ptr::null(), current.as_mut_ptr());
        current.assume_init().sa_sigaction
    }
}

/// # Safety
/// `handler` must be SIG_IGN or an async-signal-safe function.
unsafe fn handle(number: i32, handler: libc::sighandler_t, flags: i32) {
    // SAFETY: an all-zero sigaction is valid, and its mask is empty.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags | libc::SA_ONSTACK;
    // SAFETY: a valid action; the caller answers for the handler.
    unsafe { libc::sigaction(number, &raw const action, std::ptr::null_mut()) };
}

/// Runs `start` with all signals blocked, so that a thread it starts never receives one.
pub fn without_signals<T>(start: impl FnOnce() -> T) -> T {
    let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
    let mut all = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: locals, filled before they are read.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let result = start();
    // SAFETY: the mask that was in force.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    result
}

/// fork(2) as it is, without any hooks but the C library's.
///
/// # Errors
/// Those of fork(2).
///
/// # Safety
/// The process must have one thread, or the child must do nothing but what is async-signal-safe.
pub unsafe fn fork() -> std::io::Result<i32> {
    // SAFETY: the caller's.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()),
        pid => Ok(pid),
    }
}

/// Waits for a child's end, whatever it is.
pub fn wait_for(pid: i32) {
    // SAFETY: no status is asked for. Interrupted, it asks again; any other error means that there is none.
    while unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) } == -1
        && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
    {}
}
