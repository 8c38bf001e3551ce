//! Spawns children: fork, set-up of the child, exec.

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

/// The set-up of a child that is killed when this process dies.
#[derive(Debug, Default)]
pub struct ChildSetup<'fd> {
    /// Descriptors that the child inherits under the same numbers. All others above 2 are closed.
    pub inherited: Vec<BorrowedFd<'fd>>,
    /// Limit of the child's address space (`RLIMIT_AS`), bytes.
    pub address_space: Option<u64>,
}

/// Spawns `command` as a child. The child has default signal dispositions, and gets SIGKILL when this process dies.
///
/// # Errors
/// Those of fork(2), of execve(2), and of the system calls that set up the child between fork and exec.
pub fn spawn(mut command: Command, setup: &ChildSetup<'_>) -> io::Result<Pid> {
    let parent = Pid::own();
    let inherited = numbers(&setup.inherited);
    let address_space = setup.address_space;
    let set_up = move || {
        confine(&inherited, address_space)?;
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
    /// Descriptors that the child inherits under the same numbers. All others above 2 are closed.
    pub inherited: Vec<BorrowedFd<'a>>,
    /// The user to which the child changes irrevocably; needs root.
    pub identity: Option<&'a Identity>,
    /// The capabilities of the child; all others are dropped. This process must have them in its permitted set. With
    /// `None`, the kernel derives the capabilities from the user.
    pub capabilities: Option<Capabilities>,
    /// The signal that the kernel sends to the child when the thread that spawned it dies. With `None`, the child
    /// outlives this process.
    pub parent_death_signal: Option<Signal>,
    /// Whether the child also leads a new session, so that it has no controlling terminal.
    pub new_session: bool,
    /// The open `cgroup.procs` of the cgroup in which the child runs. `None` means the cgroup of this process.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// Replaces this process by `command`, with default signal dispositions. Returns only if that fails.
pub fn exec(mut command: Command, setup: &ChildSetup<'_>) -> io::Error {
    match confine(&numbers(&setup.inherited), setup.address_space) {
        Ok(()) => command.exec(),
        Err(error) => error,
    }
}

/// Spawns `command` as a child that leads a new process group. The child has default signal dispositions, and outlives
/// this process unless `parent_death_signal` is set.
///
/// # Errors
/// Those of fork(2), of execve(2), and of the system calls that set up the child between fork and exec. `Interrupted`
/// when the child's user stopped it before exec.
pub fn spawn_leader(mut command: Command, setup: &LeaderSetup<'_>) -> io::Result<Pid> {
    let child = Leader::new(setup);
    // SAFETY: `set_up` makes system calls only; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(move || child.set_up()) };
    launch::launch(command)
}

/// A [`LeaderSetup`] converted for use between fork and exec, where the child must not allocate memory.
struct Leader {
    parent: Pid,
    inherited: Vec<RawFd>,
    identity: Option<(Uid, Gid, Vec<Gid>)>,
    capabilities: Option<Capabilities>,
    /// Whether the child's effective user is root.
    is_root: bool,
    parent_death_signal: Option<Signal>,
    new_session: bool,
    /// The number of the open `cgroup.procs`. The descriptor stays open until `spawn_leader` returns, after exec.
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

    /// Sets up the child between fork and exec. Async-signal-safe.
    fn set_up(&self) -> io::Result<()> {
        // the parent has opened the file, so the rights of the parent apply
        if let Some(processes) = &self.cgroup {
            cgroup::enter(borrow(processes)?)?;
        }
        default_signals()?;
        close_others(&self.inherited)?;
        // outside of the terminal's process group the child gets no SIGINT from Ctrl-C; the parent gets it and stops
        // its children in order
        if self.new_session {
            unistd::setsid()?;
        } else {
            unistd::setpgid(unistd::Pid::from_raw(0), unistd::Pid::from_raw(0))?;
        }
        rlimit::restore_descriptors()?;
        self.become_user()?;
        // the kernel clears this signal when the user changes, so it is set after the change
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
            // a keyring counts against the quota of its user; before the change of the user this is the parent's quota,
            // because the new user may have none left
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

/// Sets up this process before exec: default signal dispositions, the inherited descriptors, and the limits of
/// descriptors and of the address space. Async-signal-safe.
fn confine(inherited: &[RawFd], address_space: Option<u64>) -> io::Result<()> {
    default_signals()?;
    close_others(inherited)?;
    rlimit::restore_descriptors()?;
    match address_space {
        Some(limit) => Ok(setrlimit(Resource::RLIMIT_AS, limit, limit)?),
        None => Ok(()),
    }
}

fn numbers(fds: &[BorrowedFd<'_>]) -> Vec<RawFd> {
    fds.iter().map(AsRawFd::as_raw_fd).collect()
}

/// Makes the kernel send `signal` to this process when its parent dies. Fails with `ESRCH` if the parent has died
/// already.
fn die_with(parent: Pid, signal: Signal) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(signal)?;
    // the parent may have died before the request above
    if unistd::getppid().as_raw() != parent.get() {
        return Err(Errno::ESRCH.into());
    }
    Ok(())
}

/// Gives every signal its default disposition and unblocks all signals.
fn default_signals() -> io::Result<()> {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL is a valid disposition. For a signal whose disposition cannot be set, the call fails without
        // effect. (nix knows no real-time signals.)
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    nix::sys::signal::SigSet::empty().thread_set_mask()?;
    Ok(())
}

/// Sets close-on-exec on every descriptor above 2, and then clears it on the descriptors in `inherited`.
fn close_others(inherited: &[RawFd]) -> io::Result<()> {
    // SAFETY: changes only flags of this process's own descriptors. An old kernel refuses the call (ENOSYS, EINVAL),
    // which is tolerable: the descriptors that ruwsgi opens have the flag anyway.
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
        // 0, 1, 2, the inherited descriptor, and the descriptor by which `ls` reads the directory
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
