//! The CPUs that a process may use: sched_setaffinity(2).

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Confines this process to `count` of the CPUs that it may use, and returns the numbers of the chosen CPUs. `process`
/// counts from 1: process 1 gets the first `count` CPUs, process 2 gets the next `count` CPUs, and so on. The choice
/// starts again at the first CPU when no CPU is left.
///
/// # Errors
/// Those of sched_getaffinity(2) and sched_setaffinity(2).
pub fn confine(process: u32, count: u32) -> io::Result<Vec<usize>> {
    let own = Pid::from_raw(0);
    let allowed = sched_getaffinity(own)?;
    let allowed: Vec<usize> = (0..CpuSet::count())
        .filter(|cpu| allowed.is_set(*cpu).unwrap_or(false))
        .collect();
    let chosen = choose(&allowed, process, count);
    let mut set = CpuSet::new();
    for cpu in &chosen {
        set.set(*cpu)?;
    }
    sched_setaffinity(own, &set)?;
    Ok(chosen)
}

/// Chooses `count` of the `allowed` CPUs for a process. `process` counts from 1.
fn choose(allowed: &[usize], process: u32, count: u32) -> Vec<usize> {
    let first = process.saturating_sub(1) as usize * count as usize;
    let cpus = allowed.iter().cycle().skip(first % allowed.len().max(1));
    let mut chosen: Vec<usize> = cpus
        .take((count as usize).min(allowed.len()))
        .copied()
        .collect();
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_gets_the_next_cpus() {
        let allowed = [0, 1, 4, 5];
        assert_eq!(choose(&allowed, 1, 1), [0]);
        assert_eq!(choose(&allowed, 3, 1), [4]);
        assert_eq!(choose(&allowed, 5, 1), [0]);
        assert_eq!(choose(&allowed, 2, 2), [4, 5]);
        assert_eq!(choose(&allowed, 2, 3), [0, 1, 5]);
        assert_eq!(choose(&allowed, 1, 9), [0, 1, 4, 5]);
        assert!(choose(&[], 1, 1).is_empty());
    }
}
