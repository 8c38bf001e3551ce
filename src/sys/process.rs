//! Handles processes by their ids: sends signals, reaps children, and sets attributes that children inherit.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::signal::{kill, killpg};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{self, SysconfVar, sysconf};

use super::descriptor;
use super::proc_stat::Stat;
use super::signal::Signal;

/// The id of one process. Never 0 or negative, so that a signal cannot reach a process group by mistake.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Pid(i32);

impl Pid {
    /// Checks that `id` is the id of a single process; `None` for 0 and negative numbers.
    pub fn new(id: i32) -> Option<Self> {
        (id > 0).then_some(Self(id))
    }

    /// The id of this process.
    pub fn own() -> Self {
        Self(unistd::getpid().as_raw())
    }

    /// The id as a number.
    pub fn get(self) -> i32 {
        self.0
    }

    fn raw(self) -> unistd::Pid {
        unistd::Pid::from_raw(self.0)
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a process has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// The process has exited with this status.
    Status(i32),
    /// This signal has killed the process.
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
    Ok(kill(pid.raw(), signal)?)
}

/// The children of this process, as /proc lists them; empty without /proc.
pub fn children() -> Vec<Pid> {
    let lists = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let mut pids = Vec::new();
    for list in lists {
        let numbers = list.split_whitespace().map(str::parse);
        pids.extend(numbers.flatten().filter_map(Pid::new));
    }
    pids
}

/// Sends the signal with this number to one process. The signal may be a real-time signal, which nix does not know.
///
/// # Errors
/// Those of kill(2).
pub fn signal_number(pid: Pid, number: i32) -> io::Result<()> {
    // SAFETY: kill takes two numbers and touches no memory.
    Errno::result(unsafe { libc::kill(pid.0, number) })?;
    Ok(())
}

/// Sends SIGKILL to one process. It is no error if the process does not exist any more.
///
/// # Errors
/// Those of kill(2), except `ESRCH`.
pub fn kill_hard(pid: Pid) -> io::Result<()> {
    ignore_no_such_process(kill(pid.raw(), Signal::SIGKILL))
}

/// Sends a signal to all processes of the group whose id is `leader`. The leader itself may have ended. It is no error
/// if the group has no process left.
///
/// # Errors
/// Those of killpg(3), except `ESRCH`.
pub fn signal_group(leader: Pid, signal: Signal) -> io::Result<()> {
    ignore_no_such_process(killpg(leader.raw(), signal))
}

fn ignore_no_such_process(sent: nix::Result<()>) -> io::Result<()> {
    match sent {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether the process group whose id is `leader` has a process left. The leader itself may have ended.
pub fn group_lives(leader: Pid) -> bool {
    killpg(leader.raw(), None) != Err(Errno::ESRCH)
}

/// Whether there is a process with this id that has not ended.
pub fn lives(pid: Pid) -> bool {
    // /proc may hide the processes of other users, so the result of kill(2) comes first
    let exists = kill(pid.raw(), None) != Err(Errno::ESRCH);
    exists && Stat::of(pid.0).is_none_or(|stat| !stat.has_ended())
}

/// The time at which a process started, computed from its age and the present wall clock; `None` if it cannot be read.
pub fn start_time(pid: Pid) -> Option<SystemTime> {
    let ticks = Stat::of(pid.0)?.start_ticks()?;
    let per_second = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
    let since_boot = Duration::from_millis(ticks * 1000 / per_second.max(1));
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?;
    let age = Duration::from(now).saturating_sub(since_boot);
    SystemTime::now().checked_sub(age)
}

/// Opens a descriptor for a process. The descriptor is readable once the process has ended.
///
/// # Errors
/// Those of pidfd_open(2): `ESRCH` when there is no such process.
pub fn handle(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two numbers and touches no memory. (nix has no pidfd_open.)
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0) })?;
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: pidfd_open has just returned this descriptor to us alone.
    Ok(unsafe { descriptor::own(fd) })
}

/// Sends a signal to the process for which [`handle`] opened the descriptor.
///
/// # Errors
/// Those of pidfd_send_signal(2): `ESRCH` when the process was reaped.
pub fn signal_by_handle(handle: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    let info = std::ptr::null::<libc::siginfo_t>();
    let (fd, number) = (handle.as_raw_fd(), signal as i32);
    // SAFETY: the call takes numbers and a null pointer, which selects the siginfo of kill(2). (nix has no
    // pidfd_send_signal.)
    Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, number, info, 0) })?;
    Ok(())
}

/// Makes this process the new parent of each descendant whose own parent ends: prctl(2), `PR_SET_CHILD_SUBREAPER`.
///
/// # Errors
/// Those of prctl(2).
pub fn set_child_subreaper() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Sets the nice value of this process and its later children: setpriority(2).
///
/// # Errors
/// Those of setpriority(2): a value below the current one needs `CAP_SYS_NICE`.
pub fn set_priority(nice: i32) -> io::Result<()> {
    // SAFETY: setpriority takes numbers and touches no memory. 0 is this process. (nix has no setpriority.)
    match unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets the umask of this process, the permission bits that new files do not get: umask(2).
pub fn set_umask(mask: u32) {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(mask));
}

/// A reaped child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// The id that the child had.
    pub pid: Pid,
    /// How the child ended.
    pub exit: Exit,
    /// The child's maximum resident size, bytes.
    pub peak: u64,
}

/// Reaps one child that has ended, without waiting; `None` when no child has ended.
///
/// # Errors
/// Those of wait4(2) except `ECHILD` (no children), which returns `None`.
pub fn reap() -> io::Result<Option<End>> {
    loop {
        let mut status = 0;
        // SAFETY: an all-zero rusage is valid.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `status` and `usage` outlive the call. (nix's wait functions do not return the resource usage.)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_processes_have_a_pid() {
        assert_eq!(Pid::new(0), None);
        assert_eq!(Pid::new(-1), None);
        assert_eq!(Pid::new(7).map(Pid::get), Some(7));
    }

    #[test]
    fn a_process_lives_since_its_start() {
        let own = Pid::own();
        assert!(lives(own));
        assert!(start_time(own).is_some_and(|start| start <= SystemTime::now()));
    }

    #[test]
    fn an_end_is_displayed_with_the_name_of_the_signal() {
        assert_eq!(Exit::Status(3).to_string(), "exited with status 3");
        assert_eq!(Exit::Signal(9).to_string(), "killed by signal 9 (SIGKILL)");
        assert_eq!(Exit::Signal(40).to_string(), "killed by signal 40");
    }
}
