//! The memory of processes: proc_pid_statm(5), proc_pid_smaps(5), getrusage(2).

use std::fs;

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};

use super::process::Pid;

/// The memory of a process, bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// The size of its address space.
    pub address_space: u64,
    /// The part that is in memory now (RSS), shared pages included.
    pub resident: u64,
}

impl Memory {
    /// Reads that of a process from /proc; `None` if it cannot be read.
    pub fn of(pid: Pid) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        let mut pages = text
            .split(' ')
            .map(|pages| pages.parse::<u64>().unwrap_or(0));
        let page = u64::try_from(sysconf(SysconfVar::PAGE_SIZE).ok()??).ok()?;
        Some(Self {
            address_space: pages.next()? * page,
            resident: pages.next()? * page,
        })
    }
}

/// The maximum resident size of this process so far, bytes. Cheaper than [`Memory::of`].
pub fn own_peak() -> u64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss().unsigned_abs() * 1024)
}

/// The memory of a process in KiB, shared pages counted in proportion (PSS); `None` if it cannot be read.
pub fn proportional_kib(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_a_missing_one_has_none() {
        let own = Memory::of(Pid::own()).unwrap();
        assert!(own.resident > 100_000 && own.address_space > own.resident);
        assert!(own_peak() > 100_000);
        if fs::metadata("/proc/self/smaps_rollup").is_ok() {
            let kib = proportional_kib(std::process::id().cast_signed());
            assert!(kib.is_some_and(|kib| kib > 100));
        }
        assert_eq!(proportional_kib(-1), None);
        assert_eq!(Memory::of(Pid::new(i32::MAX).unwrap()), None);
    }
}
