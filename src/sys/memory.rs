//! What processes take of the memory.

use std::fs;

/// The memory of a process in KiB, what it shares counted by its share (PSS); `None` where it cannot be read.
pub fn proportional_kib(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_memory_and_one_that_is_not_there_none() {
        if fs::metadata("/proc/self/smaps_rollup").is_ok() {
            assert!(
                proportional_kib(std::process::id().cast_signed()).is_some_and(|kib| kib > 100)
            );
        }
        assert_eq!(proportional_kib(-1), None);
    }
}
