//! Processes: spawning, signalling, reaping, naming.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid};

use super::capability::{self, Capabilities};
use super::cgroup;
use super::keyring;
use super::launch;
use super::signal::Signal;

/// The id of one process: never 0 or negative, so that a signal cannot go to a group by mistake.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Pid(i32);

impl Pid {
    /// `None` when `id` is not the id of a single process.
    pub fn new(id: i32) -> Option<Self> {
        (id > 0).then_some(Self(id))
    }

    /// This process.
    pub fn own() -> Self {
        Self(nix::unistd::getpid().as_raw())
    }

    /// The number.
    pub fn get(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It left with this status.
    Status(i32),
    /// This signal ended it.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Status(status) => write!(f, "exited with status {status}"),
            Self::Signal(number) => match Signal::try_from(number) {
                Ok(signal) => write!(f, "killed by signal {number} ({signal})"),
                Err(_) => write!(f, "killed by signal {number}"),
            },
        }
    }
}

/// Sends a signal to one process.
///
/// # Errors
/// Those of kill(2).
pub fn signal(pid: Pid, signal: Signal) -> io::Result<()> {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.0), signal)?;
    Ok(())
}

/// A descriptor of a process that becomes readable when the process has ended.
///
/// # Errors
/// Those of pidfd_open(2): `ESRCH` when there is no such process.
pub fn handle(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two numbers and touches no memory.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0) };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor for us alone.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ends a process at once; that it is gone already is no error.
///
/// # Errors
/// Those of kill(2).
pub fn kill_hard(pid: Pid) -> io::Result<()> {
    match nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.0), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Sends a signal to all processes of the group that `leader` leads, or led; that none is left is no error.
///
/// # Errors
/// Those of kill(2).
pub fn signal_group(leader: Pid, signal: Signal) -> io::Result<()> {
    match nix::sys::signal::killpg(nix::unistd::Pid::from_raw(leader.0), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether a process of the group that `leader` leads, or led, has not ended.
pub fn group_lives(leader: Pid) -> bool {
    let group = nix::unistd::Pid::from_raw(leader.0);
    nix::sys::signal::killpg(group, None) != Err(Errno::ESRCH)
}

/// Whether there is a process with this id that has not ended.
pub fn lives(pid: Pid) -> bool {
    // asked first, since /proc may show this user's processes only
    if nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.0), None) == Err(Errno::ESRCH) {
        return false;
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    let state = stat.as_deref().ok().and_then(|stat| stat.rsplit_once(") "));
    state.is_none_or(|(_, state)| !state.starts_with(['Z', 'X']))
}

/// Makes this process the parent of all its descendants whose own parent has gone.
///
/// # Errors
/// Those of prctl(2).
pub fn set_child_subreaper() -> io::Result<()> {
    nix::sys::prctl::set_child_subreaper(true)?;
    Ok(())
}

/// Sets the permissions that files created from now on do not get.
pub fn set_umask(mask: u32) {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(mask));
}

/// How much memory a process has, bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// Address space.
    pub address_space: u64,
    /// What of it is in memory now.
    pub resident: u64,
}

/// The memory of a process; `None` if it cannot be known.
pub fn memory(pid: Pid) -> Option<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = text
        .split(' ')
        .map(|pages| pages.parse::<u64>().unwrap_or(0));
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    let page = u64::try_from(page).ok()?;
    Some(Memory {
        address_space: pages.next()? * page,
        resident: pages.next()? * page,
    })
}

/// The most memory that this process ever had resident, bytes; cheaper than [`memory`].
pub fn own_peak() -> u64 {
    use nix::sys::resource::{UsageWho, getrusage};
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss().unsigned_abs() * 1024)
}

/// The end of a child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// Who it was.
    pub pid: Pid,
    /// How it ended.
    pub exit: Exit,
    /// The most memory it ever had resident, bytes.
    pub peak: u64,
}

/// Takes leave of one child that has ended; `None` when no other has.
///
/// # Errors
/// Those of waitpid(2), but not that there are no children.
pub fn reap() -> io::Result<Option<End>> {
    loop {
        let mut status = 0;
        // SAFETY: an all-zero rusage is valid.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `status` and `usage` are valid places for the result, for the time of the call.
        let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, &raw mut usage) };
        if pid == 0 {
            return Ok(None);
        }
        if pid < 0 {
            match Errno::last() {
                Errno::EINTR => continue,
                Errno::ECHILD => return Ok(None),
                error => return Err(error.into()),
            }
        }
        let exit = if libc::WIFEXITED(status) {
            Exit::Status(libc::WEXITSTATUS(status))
        } else if libc::WIFSIGNALED(status) {
            Exit::Signal(libc::WTERMSIG(status))
        } else {
            continue;
        };
        return Ok(Some(End {
            pid: Pid(pid),
            exit,
            peak: usage.ru_maxrss.unsigned_abs() * 1024,
        }));
    }
}

/// What a child process is given beyond its command.
#[derive(Debug, Default)]
pub struct Child<'fd> {
    /// Descriptors it inherits under the same numbers; all others above 2 are closed.
    pub inherited: Vec<BorrowedFd<'fd>>,
    /// The most address space it may have, bytes.
    pub address_space: Option<u64>,
}

/// Spawns `command` as a child that starts with default signals and dies with this process.
///
/// # Errors
/// Those of fork(2), execve(2) and of what is set up between them.
pub fn spawn(mut command: Command, child: &Child<'_>) -> io::Result<Pid> {
    let parent = Pid::own();
    let inherited: Vec<RawFd> = child.inherited.iter().map(AsRawFd::as_raw_fd).collect();
    let address_space = child.address_space;
    let set_up = move || {
        default_signals()?;
        close_others(&inherited)?;
        if let Some(limit) = address_space {
            setrlimit(Resource::RLIMIT_AS, limit, limit)?;
        }
        die_with(parent, Signal::SIGKILL)
    };
    // SAFETY: `set_up` makes system calls only; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(set_up) };
    let spawned = command.spawn()?;
    Pid::new(spawned.id().cast_signed()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Who a process of another user is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its supplementary groups.
    pub groups: Vec<u32>,
}

/// What a process that stands on its own is given beyond its command.
#[derive(Debug, Default)]
pub struct Apart<'a> {
    /// Descriptors it inherits under the same numbers; all others above 2 are closed.
    pub inherited: Vec<BorrowedFd<'a>>,
    /// The user it becomes for good; only root can ask for it.
    pub identity: Option<&'a Identity>,
    /// The capabilities that it has, and no others; this process must be permitted to have them. Where they are not
    /// said, they follow from the user.
    pub capabilities: Option<Capabilities>,
    /// How many descriptors it may open, where that is not what this process may.
    pub descriptors: Option<u64>,
    /// The signal it gets when this process dies; without one it outlives this process.
    pub death: Option<Signal>,
    /// It leads a session of its own, so that it has no terminal to lose.
    pub session: bool,
    /// The entrance of the cgroup that it runs in, if not in that of this process.
    pub group: Option<BorrowedFd<'a>>,
}

/// Spawns `command` as a child in a process group of its own, with default signals, that outlives this process
/// unless `death` is set. Where that is set, only the thread that calls this stands for this process.
///
/// # Errors
/// Those of fork(2), execve(2) and of what is set up between them.
pub fn spawn_apart(mut command: Command, apart: &Apart<'_>) -> io::Result<Pid> {
    let inherited: Vec<RawFd> = apart.inherited.iter().map(AsRawFd::as_raw_fd).collect();
    let identity = apart.identity.map(|identity| {
        let groups = identity.groups.iter().copied().map(Gid::from_raw);
        let groups: Vec<Gid> = groups.collect();
        (
            Uid::from_raw(identity.uid),
            Gid::from_raw(identity.gid),
            groups,
        )
    });
    let descriptors = apart.descriptors;
    let granted = apart.capabilities;
    let becomes_root = match apart.identity {
        Some(identity) => identity.uid == 0,
        None => Uid::effective().is_root(),
    };
    let (death, session) = (apart.death, apart.session);
    // open until the command is spawned, which is before this function returns
    let group: Option<RawFd> = apart.group.as_ref().map(AsRawFd::as_raw_fd);
    let parent = Pid::own();
    let set_up = move || {
        enter_group(group)?;
        default_signals()?;
        close_others(&inherited)?;
        // a Ctrl-C is for this process, which then tells its children in order
        if session {
            nix::unistd::setsid()?;
        } else {
            nix::unistd::setpgid(nix::unistd::Pid::from_raw(0), nix::unistd::Pid::from_raw(0))?;
        }
        if let Some(soft) = descriptors {
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
            setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard)?;
        }
        if let Some(granted) = granted {
            capability::prepare(granted, becomes_root)?;
        }
        if let Some((uid, gid, groups)) = &identity {
            // while it counts among our own keys: he may have used up his
            keyring::leave();
            nix::unistd::setgroups(groups)?;
            nix::unistd::setresgid(*gid, *gid, *gid)?;
            nix::unistd::setresuid(*uid, *uid, *uid)?;
        }
        if let Some(granted) = granted {
            capability::take(granted, becomes_root)?;
        }
        // after the change of the user, which makes the kernel forget it
        if let Some(signal) = death {
            die_with(parent, signal)?;
        }
        Ok(())
    };
    // SAFETY: `set_up` makes system calls only; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(set_up) };
    launch::launch(command)
}

/// Enters a cgroup, with the rights of who has opened its entrance.
fn enter_group(entrance: Option<RawFd>) -> io::Result<()> {
    let Some(entrance) = entrance else {
        return Ok(());
    };
    // SAFETY: the caller holds the descriptor open for the time of the call.
    cgroup::enter(unsafe { BorrowedFd::borrow_raw(entrance) })
}

/// Asks for `signal` when the parent dies; fails if it has died already.
fn die_with(parent: Pid, signal: Signal) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(signal)?;
    // the parent may have died before the request above was in place
    if nix::unistd::getppid().as_raw() != parent.0 {
        return Err(Errno::ESRCH.into());
    }
    Ok(())
}

/// Lets this process open as many descriptors as it ever may; returns how many it could before.
///
/// # Errors
/// Those of setrlimit(2).
pub fn raise_descriptors() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(soft)
}

/// Sets how many descriptors this process and its children may open; the hard limit is raised where it is lower.
///
/// # Errors
/// Those of setrlimit(2): only root may raise the hard limit.
pub fn limit_descriptors(most: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, hard.max(most))?;
    Ok(())
}

/// Gives every signal its default disposition and unblocks all.
fn default_signals() -> io::Result<()> {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL is a valid disposition; for signals that cannot have it the call fails without effect.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    nix::sys::signal::SigSet::empty().thread_set_mask()?;
    Ok(())
}

/// Marks every descriptor above 2 to be closed by exec, except `inherited`.
fn close_others(inherited: &[RawFd]) -> io::Result<()> {
    // SAFETY: changes only flags of this process's own descriptors. An old kernel refuses (ENOSYS, EINVAL): then
    // those that we opened are marked anyway.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    for fd in inherited {
        // SAFETY: clears the flag of a descriptor that the caller holds open across the fork.
        Errno::result(unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) })?;
    }
    Ok(())
}

/// Names this process in `ps` and `top`: the arguments it was started with are overwritten, as far as they reach.
///
/// Only for a process that does not read its arguments again. Where /proc is missing only the short name is set.
pub fn set_title(title: &str) {
    let name: Vec<u8> = title.bytes().filter(|byte| *byte != 0).take(15).collect();
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = nix::sys::prctl::set_name(&name);
    }
    if let Some((start, end)) = fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|stat| argument_area(&stat))
    {
        let text = title.as_bytes();
        let room = end - start;
        let written = text.len().min(room - 1);
        // SAFETY: the kernel reports [start, end) as this process's argument strings: mapped and writable for its
        // whole life. Nobody reads them as Rust values while this runs; the last byte stays zero.
        unsafe {
            let area = start as *mut u8;
            std::ptr::copy_nonoverlapping(text.as_ptr(), area, written);
            std::ptr::write_bytes(area.add(written), 0, room - written);
        }
    }
}

/// Where the argument strings lie, from the text of /proc/PID/stat; `None` when there are none.
fn argument_area(stat: &str) -> Option<(usize, usize)> {
    // the command's name stands in parentheses and may hold anything: fields are counted behind it, from the third
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let start: usize = fields.nth(48 - 3)?.parse().ok()?;
    let end: usize = fields.next()?.parse().ok()?;
    (start != 0 && end > start).then_some((start, end))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn only_single_processes_have_a_pid() {
        assert_eq!(Pid::new(0), None);
        assert_eq!(Pid::new(-1), None);
        assert_eq!(Pid::new(7).map(Pid::get), Some(7));
    }

    #[test]
    fn the_argument_area_is_found_behind_any_name() {
        let fields: Vec<String> = (3..=52).map(|field| (field * 10).to_string()).collect();
        let stat = format!("7 (a ) name) {}", fields.join(" "));
        assert_eq!(argument_area(&stat), Some((480, 490)));
        assert_eq!(argument_area("7 (name) R 1 2"), None);
        assert_eq!(argument_area(""), None);
    }

    #[test]
    fn a_child_has_only_the_descriptors_it_is_given() {
        let file = fs::File::open("/dev/null").unwrap();
        let kept = std::os::fd::AsFd::as_fd(&file);
        let output = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new("/bin/ls");
        command
            .arg("/proc/self/fd")
            .stdin(Stdio::null())
            .stdout(output.reopen().unwrap());
        let child = Child {
            inherited: vec![kept],
            address_space: None,
        };
        let pid = spawn(command, &child).unwrap();
        let mut status = 0;
        // SAFETY: waits for our own child.
        unsafe { libc::waitpid(pid.get(), &raw mut status, 0) };
        let seen = fs::read_to_string(output.path()).unwrap();
        let seen: Vec<i32> = seen.lines().map(|line| line.parse().unwrap()).collect();
        assert!(seen.contains(&kept.as_raw_fd()));
        // 0, 1, 2, the kept one, and the one by which ls reads the directory
        assert_eq!(seen.len(), 5, "{seen:?}");
    }

    #[test]
    fn endings_are_told_in_words() {
        assert_eq!(Exit::Status(3).to_string(), "exited with status 3");
        assert_eq!(Exit::Signal(9).to_string(), "killed by signal 9 (SIGKILL)");
        assert_eq!(Exit::Signal(40).to_string(), "killed by signal 40");
    }
}
