//! `ProcessMark`: a number of 31 bits that stands for a process. Other processes use it to find out whether the process
//! still runs.
//!
//! The number has the process id and a part of the start time, so that a new process with the same id is not mistaken
//! for the process.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::proc_stat::Stat;

/// Number of bits of a process id: `/proc/sys/kernel/pid_max` is at most 2^22.
const PID_BITS: u32 = 22;

/// Number of bits of a mark.
pub const BITS: u32 = 31;

/// The mark of this process; 0 if it is unknown.
static OWN: AtomicU32 = AtomicU32::new(0);

/// The mark of a process; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessMark(u32);

impl ProcessMark {
    /// Returns the mark of this process. Only the first call in a process makes a system call.
    #[inline]
    pub fn own() -> Self {
        match OWN.load(Relaxed) {
            0 => Self::determine(),
            mark => Self(mark),
        }
    }

    #[cold]
    fn determine() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            // SAFETY: `forget` only stores to an atomic, which is allowed in the child of any process.
            unsafe { libc::pthread_atfork(None, None, Some(forget)) };
        });
        let mark = Self::of(std::process::id(), Stat::own());
        OWN.store(mark.0, Relaxed);
        mark
    }

    fn of(pid: u32, stat: Option<Stat>) -> Self {
        let start = stat.and_then(|stat| stat.start_ticks()).unwrap_or(0) as u32;
        let pid = pid & ((1 << PID_BITS) - 1);
        Self(pid | (start << PID_BITS) & ((1 << BITS) - 1))
    }

    /// The mark with these bits; `None` for 0.
    pub fn from_bits(bits: u32) -> Option<Self> {
        (bits != 0).then_some(Self(bits & ((1 << BITS) - 1)))
    }

    /// The bits of the mark; the highest is 0.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The process id.
    pub fn pid(self) -> i32 {
        (self.0 & ((1 << PID_BITS) - 1)).cast_signed()
    }

    /// Whether the process still runs. A zombie does not run. Without /proc, any process with the same id counts.
    pub fn is_alive(self) -> bool {
        if self == Self::own() {
            return true;
        }
        // SAFETY: kill with signal 0 takes numbers only and sends nothing.
        let exists = unsafe { libc::kill(self.pid(), 0) } == 0
            || nix::errno::Errno::last() != nix::errno::Errno::ESRCH;
        if !exists || self.pid() == 0 {
            return false;
        }
        match Stat::of(self.pid()) {
            Some(stat) if stat.has_ended() => false,
            Some(stat) => Self::of(self.pid().cast_unsigned(), Some(stat)) == self,
            None => true,
        }
    }
}

extern "C" fn forget() {
    OWN.store(0, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_another_with_its_id_is_not() {
        let own = ProcessMark::own();
        assert!(own.is_alive() && own.pid().cast_unsigned() == std::process::id());
        let other = own.bits() ^ (1 << (BITS - 1));
        assert!(!ProcessMark::from_bits(other).is_some_and(ProcessMark::is_alive));
    }

    #[test]
    fn a_process_that_has_ended_is_not_alive() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn();
        let mark = child.as_mut().map(|child| {
            let mark = ProcessMark::of(child.id(), Stat::of(child.id().cast_signed()));
            assert!(mark.is_alive());
            let _ = child.kill();
            let _ = child.wait();
            mark
        });
        assert!(!mark.is_ok_and(ProcessMark::is_alive));
    }
}
