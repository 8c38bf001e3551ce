//! System calls for threads and their signals, and for this process as a whole.

use std::io;
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::wait::waitpid;
use nix::unistd::{self, Pid};

use super::wakeup;

/// The kernel's id of the calling thread: gettid(2).
pub fn id() -> i32 {
    unistd::gettid().as_raw()
}

/// Sends a signal to one thread of this process: tgkill(2). No effect if the thread has ended.
pub fn signal(thread: i32, signal: i32) {
    // SAFETY: tgkill takes numbers and touches no memory. (nix has no tgkill.)
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) };
}

/// Ends the process at once: _exit(2). No exit handler and no destructor runs.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: does not return and touches no memory of ours.
    unsafe { libc::_exit(status) }
}

/// Makes the kernel kill this process (SIGKILL) when the thread that forked it exits.
///
/// # Errors
/// Those of prctl(2).
pub fn die_with_parent() -> io::Result<()> {
    Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?)
}

/// Makes the C library return free memory to the kernel (malloc_trim(3)), so that children do not inherit it. No effect
/// without glibc.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes a number; any thread may call it.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Grows this process's descriptor table to `count` entries. No effect if the limit of descriptors is lower.
///
/// Must be called while the process has one thread. In a process with several threads, each growth waits for an RCU
/// grace period of the kernel, which takes some milliseconds.
pub fn reserve_descriptors(count: i32) {
    // this fails if the limit of descriptors is lower
    if let Ok(high) = fcntl(io::stdin(), FcntlArg::F_DUPFD_CLOEXEC(count - 1)) {
        let _ = unistd::close(high);
    }
}

/// The name of this host; empty if gethostname(2) fails.
pub fn hostname() -> String {
    unistd::gethostname().map_or_else(
        |_| String::new(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// The descriptor of the [`wakeup::Wakeup`] that was passed to [`record_signals`]; -1 before the first call.
static WAKEUP: AtomicI32 = AtomicI32::new(-1);
/// Whether a recorded signal has arrived since the last call of [`take_recorded`].
static RECORDED: AtomicBool = AtomicBool::new(false);

extern "C" fn record(_signal: libc::c_int) {
    RECORDED.store(true, SeqCst);
    wakeup::wake(WAKEUP.load(SeqCst));
}

extern "C" fn interrupt(_signal: libc::c_int) {}

/// The dispositions that [`handle`] has replaced, indexed by signal number.
static REPLACED: [OnceLock<libc::sigaction>; SIGNALS] = [const { OnceLock::new() }; SIGNALS];
/// One more than the highest signal number.
const SIGNALS: usize = 65;

/// Installs a handler for `signals`. When one arrives, the handler records it (see [`take_recorded`]) and wakes the
/// thread that waits for the descriptor `wakeup` of a [`wakeup::Wakeup`]. A signal for which the program has installed
/// its own handler is left alone.
///
/// The descriptor must stay open for the rest of the process's life.
pub fn record_signals(wakeup: i32, signals: &[i32]) {
    WAKEUP.store(wakeup, SeqCst);
    for &number in signals {
        if !handles(number) {
            let handler = record as *const () as libc::sighandler_t;
            // SAFETY: the handler only stores an atomic and writes to a descriptor: async-signal-safe.
            unsafe { handle(number, handler, libc::SA_RESTART) };
        }
    }
}

/// Whether a recorded signal has arrived since the last call of this function.
pub fn take_recorded() -> bool {
    RECORDED.swap(false, SeqCst)
}

/// Installs a handler that does nothing, without `SA_RESTART`. The signal then only interrupts the system call in which
/// the receiving thread waits.
pub fn interrupt_by(number: i32) {
    // SAFETY: the handler does nothing.
    unsafe { handle(number, interrupt as *const () as libc::sighandler_t, 0) };
}

/// Discards a signal by a handler that does nothing. An ignored signal would stay ignored in the programs that this
/// process executes; with a handler they get the default disposition.
pub fn discard(number: i32) {
    // SAFETY: the handler does nothing.
    unsafe {
        handle(
            number,
            interrupt as *const () as libc::sighandler_t,
            libc::SA_RESTART,
        )
    };
}

/// Whether the program has installed its own handler for a signal. The handlers of this file do not count.
pub fn handles(number: i32) -> bool {
    let current = disposition(number);
    current != libc::SIG_DFL && current != libc::SIG_IGN && !is_ours(current)
}

/// Restores the dispositions that the functions of this file have replaced. A disposition that the program has set
/// later is left alone. Async-signal-safe.
pub(super) fn restore_dispositions() {
    for (number, replaced) in REPLACED.iter().enumerate() {
        let number = number as i32;
        if let Some(action) = replaced.get()
            && is_ours(disposition(number))
        {
            // SAFETY: sigaction(2) returned this action for the signal.
            unsafe { libc::sigaction(number, action, std::ptr::null_mut()) };
        }
    }
}

fn is_ours(handler: libc::sighandler_t) -> bool {
    let ours = [record as *const (), interrupt as *const ()];
    ours.iter().any(|&own| own as libc::sighandler_t == handler)
}

/// Reads the disposition of a signal: the address of its handler, `SIG_DFL` or `SIG_IGN`.
fn disposition(number: i32) -> libc::sighandler_t {
    let mut current = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: sigaction only writes the disposition to a local; a zeroed sigaction is valid. (nix knows no real-time
    // signals.)
    unsafe {
        libc::sigaction(number, std::ptr::null(), current.as_mut_ptr());
        current.assume_init().sa_sigaction
    }
}

/// Unblocks a signal in the calling thread and sends it to that thread. The signal is delivered before this returns,
/// and stays unblocked.
pub fn receive(number: i32) {
    let mut only = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the set is a local, initialised before it is read. (nix's SigSet holds no real-time signals.)
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

/// Sets the disposition of a signal, and saves the replaced disposition. The handler runs on the alternate stack if
/// there is one, and blocks no further signals.
///
/// # Safety
/// `handler` must be SIG_IGN or an async-signal-safe function.
unsafe fn handle(number: i32, handler: libc::sighandler_t, flags: i32) {
    // SAFETY: an all-zero sigaction is valid, and its mask is empty.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags | libc::SA_ONSTACK;
    // SAFETY: an all-zero sigaction is valid.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: valid actions; the handler is the caller's contract.
    let result = unsafe { libc::sigaction(number, &raw const action, &raw mut old) };
    let replaced = usize::try_from(number)
        .ok()
        .and_then(|number| REPLACED.get(number));
    if let Some(replaced) = replaced
        && result == 0
    {
        // only the first call sets the value, which is the disposition of the program
        let _ = replaced.set(old);
    }
}

/// Runs `start` with all signals blocked. A thread that `start` creates inherits the mask, so it receives no signals.
pub fn without_signals<T>(start: impl FnOnce() -> T) -> T {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let result = start();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    result
}

/// Calls fork(2) of the C library, which runs the pthread_atfork(3) handlers only. Returns the child's pid; 0 in the
/// child.
///
/// # Errors
/// Those of fork(2).
///
/// # Safety
/// The process must have one thread, or the child must call async-signal-safe functions only.
pub unsafe fn fork() -> io::Result<i32> {
    // SAFETY: the caller guarantees the conditions of the section `Safety` above.
    match unsafe { unistd::fork() }? {
        unistd::ForkResult::Parent { child } => Ok(child.as_raw()),
        unistd::ForkResult::Child => Ok(0),
    }
}

/// Waits until a child has ended, reaps it, and discards its status.
pub fn wait_for(pid: i32) {
    // after another error there is no such child, or a real-time signal has killed it, which nix cannot report
    while waitpid(Pid::from_raw(pid), None) == Err(Errno::EINTR) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_blocked_during_the_start_and_the_mask_is_restored() {
        let blocked = || SigSet::thread_get_mask().is_ok_and(|set| set.contains(SIGNAL));
        const SIGNAL: nix::sys::signal::Signal = nix::sys::signal::Signal::SIGUSR2;
        assert!(!blocked());
        assert!(without_signals(blocked));
        assert!(!blocked());
    }

    #[test]
    fn the_main_thread_has_the_id_of_its_process_and_no_other_has() {
        let id = std::thread::spawn(id).join().unwrap_or_default();
        assert!(id > 0 && id != unistd::getpid().as_raw());
        assert!(!hostname().is_empty());
    }
}
