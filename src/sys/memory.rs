//! Reads the memory usage of processes (proc_pid_statm(5), proc_pid_smaps(5), getrusage(2)), and releases code pages
//! (madvise(2)).

use std::ffi::c_void;
use std::fs;
use std::ptr::NonNull;

use nix::sys::mman::{MmapAdvise, madvise};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};

use super::process::Pid;

/// The memory usage of a process, bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// The size of the address space.
    pub address_space: u64,
    /// The part of the address space that is in memory now (RSS), shared pages included.
    pub resident: u64,
}

impl Memory {
    /// Reads the memory usage of a process from /proc; `None` if it cannot be read.
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

/// The maximum resident size of this process so far, bytes. Reading it is cheaper than [`Memory::of`].
pub fn own_peak() -> u64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss().unsigned_abs() * 1024)
}

/// The resident memory of a process in KiB (PSS); `None` if it cannot be read. A page that n processes share counts as
/// 1/n.
pub fn proportional_kib(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Removes the pages of this program's code and constants from the resident set (madvise(2), `MADV_DONTNEED`). After
/// the start, code that only the start needs, such as the parsers of the configuration, then takes no memory. The
/// kernel maps a page again when it is used. No effect without /proc.
pub fn release_code() {
    let Ok(program) = fs::read_link("/proc/self/exe") else {
        return;
    };
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, len) in unchanged_parts(&maps, &program.to_string_lossy()) {
        // SAFETY: the range is a private mapping of a file, and this process has not changed its pages. They equal the
        // file's content, from which the kernel reads them again.
        let _ = unsafe { madvise(start, len, MmapAdvise::MADV_DONTNEED) };
    }
}

/// The address ranges of a program's mappings that are never written: the code, and the constants at the start of the
/// file. The read-only data behind the code is excluded, because the dynamic linker writes to it. `maps` is the text of
/// /proc/PID/maps (proc_pid_maps(5)).
fn unchanged_parts<'a>(
    maps: &'a str,
    program: &'a str,
) -> impl Iterator<Item = (NonNull<c_void>, usize)> + 'a {
    let lines = maps.lines().filter(move |line| line.ends_with(program));
    lines.filter_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        let address = NonNull::new(std::ptr::with_exposed_provenance_mut(start))?;
        let unchanged = rest.starts_with("r-xp ") || rest.starts_with("r--p 00000000 ");
        unchanged.then_some((address, end - start))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn code_and_constants_are_unchanged_parts_of_the_program() {
        let maps = "1000-3000 r--p 00000000 08:01 7   /bin/a b\n3000-7000 r-xp 00002000 08:01 7   /bin/a b\n\
                    7000-8000 r--p 00006000 08:01 7   /bin/a b\n8000-9000 rw-p 00007000 08:01 7   /bin/a b\n\
                    9000-a000 r-xp 00000000 08:01 8   /lib/c\n";
        let found: Vec<_> = unchanged_parts(maps, "/bin/a b")
            .map(|(start, len)| (start.as_ptr().addr(), len))
            .collect();
        assert_eq!(found, [(0x1000, 0x2000), (0x3000, 0x4000)]);
        release_code(); // and the code still runs
    }

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
