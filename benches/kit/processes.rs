//! Measurements of a process tree: CPU time, memory, system calls.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeVal;
use nix::unistd::Pid;

/// `/proc` counts CPU time in hundredths of a second (`USER_HZ`) on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time of a process tree since its start, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime {
    /// In user mode.
    pub user: f64,
    /// In the kernel.
    pub system: f64,
}

impl CpuTime {
    /// The difference from an earlier measurement.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user - earlier.user,
            system: self.system - earlier.system,
        }
    }

    /// The sum of both.
    pub fn total(self) -> f64 {
        self.user + self.system
    }
}

/// The fields of `/proc/PID/stat` from the state on; `None` if the process has ended.
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// The process and its descendants.
pub fn tree(root: i32) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        if let Some(parent) = stat(pid).and_then(|fields| fields.get(1)?.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    found
}

/// CPU time of the tree, including descendants that have ended and were reaped.
pub fn cpu_time(root: i32) -> CpuTime {
    let mut sum = CpuTime::default();
    for fields in tree(root).into_iter().filter_map(stat) {
        let ticks = |field: usize| {
            fields
                .get(field)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0.0)
        };
        sum.user += (ticks(11) + ticks(13)) / TICKS_PER_SECOND;
        sum.system += (ticks(12) + ticks(14)) / TICKS_PER_SECOND;
    }
    sum
}

/// Memory of the tree in KiB (PSS: shared pages are divided among their users).
pub fn memory(root: i32) -> Result<u64> {
    tree(root).into_iter().map(memory_of).sum()
}

/// Memory of one process in KiB (PSS: shared pages are divided among their users).
pub fn memory_of(pid: i32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .unwrap_or("0 kB");
    line.trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .with_context(|| format!("{path}: {line}"))
}

/// CPU time of the tree's threads in seconds, with nanosecond resolution; without threads that have ended.
pub fn cpu_time_of_threads(root: i32) -> f64 {
    let mut nanoseconds = 0.0;
    for pid in tree(root) {
        let threads = fs::read_dir(format!("/proc/{pid}/task"));
        for thread in threads.into_iter().flatten().flatten() {
            let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            let first = text.split(' ').next().and_then(|text| text.parse().ok());
            nanoseconds += first.unwrap_or(0.0);
        }
    }
    nanoseconds / 1e9
}

/// CPU time of all reaped descendants in seconds, with microsecond resolution.
pub fn cpu_time_of_reaped_children() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// Whether the process exists and is no zombie.
pub fn is_running(pid: i32) -> bool {
    stat(pid).is_some_and(|fields| fields.first().is_some_and(|state| state != "Z"))
}

/// Pins this thread, and the processes it starts, to the first or the second of the allowed CPUs. Without a second
/// CPU it does nothing.
pub fn pin(second: bool) -> Result<()> {
    static ALL: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let all = ALL.get_or_init(|| {
        (0..CpuSet::count())
            .filter(|cpu| allowed.is_set(*cpu).unwrap_or(false))
            .collect()
    });
    if all.len() < 2 {
        return Ok(());
    }
    let mut mine = CpuSet::new();
    mine.set(all[usize::from(second)])?;
    sched_setaffinity(Pid::from_raw(0), &mine)?;
    Ok(())
}

/// Counts the tree's system calls by name with strace while `work` runs.
pub fn system_calls(
    root: i32,
    scratch: &Path,
    work: impl FnOnce() -> Result<()>,
) -> Result<BTreeMap<String, u64>> {
    let summary = scratch.join("strace");
    let pids = tree(root);
    let mut command = Command::new("strace");
    command.args(["-c", "-f", "-q", "-o"]).arg(&summary);
    for pid in &pids {
        command.args(["-p", &pid.to_string()]);
    }
    let mut strace = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("strace cannot be started")?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while !pids.iter().all(|pid| traced(*pid)) {
        let alive = strace.try_wait()?.is_none() && Instant::now() < deadline;
        if !alive {
            strace.kill()?;
            strace.wait()?;
        }
        ensure!(alive, "strace is not permitted to trace the server");
        sleep(Duration::from_millis(5));
    }
    let result = work();
    kill(Pid::from_raw(strace.id().cast_signed()), Signal::SIGINT)?;
    strace.wait()?;
    result?;
    Ok(parse_summary(&fs::read_to_string(&summary)?))
}

/// Whether strace traces every thread of the process.
fn traced(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    threads
        .map(|thread| fs::read_to_string(thread.path().join("status")).unwrap_or_default())
        .all(|status| {
            status.lines().any(|line| {
                line.strip_prefix("TracerPid:")
                    .is_some_and(|tracer| tracer.trim() != "0")
            })
        })
}

/// The rows of `strace -c`: share, seconds, microseconds per call, calls, errors (may be empty), name.
fn parse_summary(text: &str) -> BTreeMap<String, u64> {
    let rows = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter_map(|row| Some(((*row.last()?).to_owned(), row.get(3)?.parse().ok()?)))
        .filter(|(name, _)| name != "total")
        .collect()
}
