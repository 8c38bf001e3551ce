//! Spawning children: fork, the set-up of the child, exec.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{self, Gid, Uid};

use super::capability::{self, Capabilities};
use super::cgroup;
use super::descriptor::borrow;
use super::keyring;
use super::launch;
use super::process::Pid;
use super::rlimit;
use super::signal::Signal;
use super::user::Identity;

/// The set-up of a child that dies with this process.
#[derive(Debug, Default)]
pub struct ChildSetup<'fd> {
    /// Descriptors that it inherits under the same numbers; all others above 2 are closed.
    pub inherited: Vec<BorrowedFd<'fd>>,
    /// Limit of its address space (`RLIMIT_AS`), bytes.
    pub address_space: Option<u64>,
}

/// Spawns `command` as a child with default signals, which gets SIGKILL when this process dies.
///
/// # Errors
/// Those of fork(2), execve(2) and of the set-up between them.
pub fn spawn(mut command: Command, setup: &ChildSetup<'_>) -> io::Result<Pid> {
    let parent = Pid::own();
    let inherited = numbers(&setup.inherited);
    let address_space = setup.address_space;
    let set_up = move || {
        default_signals()?;
        close_others(&inherited)?;
        rlimit::restore_descriptors()?;
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

/// The set-up of a child that leads a process group.
#[derive(Debug, Default)]
pub struct LeaderSetup<'a> {
    /// Descriptors that it inherits under the same numbers; all others above 2 are closed.
    pub inherited: Vec<BorrowedFd<'a>>,
    /// The user that it becomes irrevocably; needs root.
    pub identity: Option<&'a Identity>,
    /// Its capabilities, all others are dropped; they must be permitted to this process. `None`: they follow from the
    /// user, as in the kernel.
    pub capabilities: Option<Capabilities>,
    /// Signal that it gets when the thread that spawns it dies; `None`: it outlives this process.
    pub parent_death_signal: Option<Signal>,
    /// It leads a new session too, so it has no controlling terminal.
    pub new_session: bool,
    /// `cgroup.procs` of the cgroup that it runs in; `None`: that of this process.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// Spawns `command` as a child with default signals that leads a new process group. It outlives this process unless
/// `parent_death_signal` is set.
///
/// # Errors
/// Those of fork(2), execve(2) and of the set-up between them. `Interrupted` when its user stopped it before exec.
pub fn spawn_leader(mut command: Command, setup: &LeaderSetup<'_>) -> io::Result<Pid> {
    let child = Leader::new(setup);
    // SAFETY: `set_up` makes system calls only; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(move || child.set_up()) };
    launch::launch(command)
}

/// A [`LeaderSetup`] that is prepared for use between fork and exec, where nothing may be allocated.
struct Leader {
    parent: Pid,
    inherited: Vec<RawFd>,
    identity: Option<(Uid, Gid, Vec<Gid>)>,
    capabilities: Option<Capabilities>,
    /// The child's effective user is root.
    is_root: bool,
    parent_death_signal: Option<Signal>,
    new_session: bool,
    /// Open until the command is spawned, which is before `spawn_leader` returns.
    cgroup: Option<RawFd>,
}

impl Leader {
    fn new(setup: &LeaderSetup<'_>) -> Self {
        let identity = setup.identity.map(|identity| {
            let groups = identity.groups.iter().copied().map(Gid::from_raw);
            let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
            (uid, gid, groups.collect())
        });
        Self {
            parent: Pid::own(),
            inherited: numbers(&setup.inherited),
            capabilities: setup.capabilities,
            is_root: identity
                .as_ref()
                .map_or_else(Uid::effective, |(uid, ..)| *uid)
                .is_root(),
            identity,
            parent_death_signal: setup.parent_death_signal,
            new_session: setup.new_session,
            cgroup: setup.cgroup.as_ref().map(AsRawFd::as_raw_fd),
        }
    }

    /// Runs in the child between fork and exec: async-signal-safe.
    fn set_up(&self) -> io::Result<()> {
        // with the rights of this process, which has opened the file
        if let Some(processes) = &self.cgroup {
            cgroup::enter(borrow(processes)?)?;
        }
        default_signals()?;
        close_others(&self.inherited)?;
        // the terminal's SIGINT reaches this process, which stops its children in order
        if self.new_session {
            unistd::setsid()?;
        } else {
            unistd::setpgid(unistd::Pid::from_raw(0), unistd::Pid::from_raw(0))?;
        }
        rlimit::restore_descriptors()?;
        self.become_user()?;
        // after the change of the user, at which the kernel clears it
        match self.parent_death_signal {
            Some(signal) => die_with(self.parent, signal),
            None => Ok(()),
        }
    }

    fn become_user(&self) -> io::Result<()> {
        if let Some(granted) = self.capabilities {
            capability::prepare(granted, self.is_root)?;
        }
        if let Some((uid, gid, groups)) = &self.identity {
            // while the new keyring counts for this process's user: the other may have used up his quota
            keyring::leave();
            unistd::setgroups(groups)?;
            unistd::setresgid(*gid, *gid, *gid)?;
            unistd::setresuid(*uid, *uid, *uid)?;
        }
        match self.capabilities {
            Some(granted) => capability::take(granted, self.is_root),
            None => Ok(()),
        }
    }
}

fn numbers(fds: &[BorrowedFd<'_>]) -> Vec<RawFd> {
    fds.iter().map(AsRawFd::as_raw_fd).collect()
}

/// Asks for `signal` when the parent dies; `ESRCH` if it has died already.
fn die_with(parent: Pid, signal: Signal) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(signal)?;
    // the parent may have died before the request above
    if unistd::getppid().as_raw() != parent.get() {
        return Err(Errno::ESRCH.into());
    }
    Ok(())
}

/// Gives every signal its default disposition and unblocks all.
fn default_signals() -> io::Result<()> {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL is a valid disposition; for signals that cannot have it the call fails without effect. (nix
        // knows no real-time signals.)
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    nix::sys::signal::SigSet::empty().thread_set_mask()?;
    Ok(())
}

/// Sets close-on-exec on every descriptor above 2, and clears it on those of `inherited`.
fn close_others(inherited: &[RawFd]) -> io::Result<()> {
    // SAFETY: changes only flags of this process's own descriptors. An old kernel refuses (ENOSYS, EINVAL): then those
    // that we opened have the flag anyway.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    for fd in inherited {
        fcntl(borrow(fd)?, FcntlArg::F_SETFD(FdFlag::empty()))?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::process::Stdio;

    use super::*;

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
        let setup = ChildSetup {
            inherited: vec![kept],
            address_space: None,
        };
        let pid = spawn(command, &setup).unwrap();
        let _ = nix::sys::wait::waitpid(unistd::Pid::from_raw(pid.get()), None);
        let seen = fs::read_to_string(output.path()).unwrap();
        let seen: Vec<i32> = seen.lines().map(|line| line.parse().unwrap()).collect();
        assert!(seen.contains(&kept.as_raw_fd()));
        // 0, 1, 2, the kept one, and the one by which ls reads the directory
        assert_eq!(seen.len(), 5, "{seen:?}");
    }

    #[test]
    fn a_leader_leads_a_new_group() {
        let mut command = Command::new("/bin/sleep");
        command.arg("100").stdin(Stdio::null());
        let pid = spawn_leader(command, &LeaderSetup::default()).unwrap();
        let child = unistd::Pid::from_raw(pid.get());
        assert_eq!(unistd::getpgid(Some(child)).unwrap(), child);
        super::super::process::signal_group(pid, Signal::SIGKILL).unwrap();
        let _ = nix::sys::wait::waitpid(child, None);
    }
}
