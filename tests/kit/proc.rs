//! Processes, read from /proc.

use std::fs;

/// A process.
#[derive(Debug, Clone)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    pub session: i32,
    /// The letter in `/proc/PID/stat`; `Z` is a zombie.
    pub state: char,
    /// Number of threads.
    pub threads: usize,
    pub name: String,
}

/// The process with this id; `None` if there is none.
pub fn process(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = tail.split_whitespace().collect();
    Some(Process {
        pid,
        name: head.split_once('(')?.1.to_owned(),
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        threads: fields.get(17)?.parse().ok()?,
    })
}

/// All processes of the machine.
fn all() -> impl Iterator<Item = Process> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(process)
}

/// The processes of a session, including zombies.
pub fn of_session(session: i32) -> Vec<Process> {
    all().filter(|process| process.session == session).collect()
}

/// The children of a process.
pub fn children(parent: i32) -> Vec<Process> {
    all().filter(|process| process.parent == parent).collect()
}

/// Whether the process exists and is no zombie.
pub fn is_running(pid: i32) -> bool {
    process(pid).is_some_and(|process| process.state != 'Z')
}

/// Number of open descriptors of a process; 0 if it has ended.
pub fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// The value of a line in `/proc/PID/status`, such as `Uid`.
pub fn status(pid: i32, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// The command line of a process, joined with spaces.
pub fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .trim_end_matches('\0')
        .replace('\0', " ")
}
