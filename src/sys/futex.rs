//! Waits for a change of a word in shared memory: futex(2) between processes.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Waits until another thread or process calls [`wake`] for this word, or until `timeout` has passed. Returns at once if
/// the word is not `expected`. Returns whether the timeout has passed.
pub fn wait(word: &AtomicU32, expected: u32, timeout: Duration) -> bool {
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: the word and the timeout are valid for the call, which reads both and writes neither.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            expected,
            &raw const timeout,
        )
    };
    result == -1 && nix::errno::Errno::last() == nix::errno::Errno::ETIMEDOUT
}

/// Wakes up to `count` threads that wait for this word, in all processes.
pub fn wake(word: &AtomicU32, count: i32) {
    // SAFETY: the kernel uses the address of the word as a key only.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
}
