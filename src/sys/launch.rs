//! Starting a program as another user, without being at that user's mercy until it runs.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, Pid as Child, fork};

use super::poll;
use super::process::{Pid, kill_hard};
use super::thread::exit_now;

/// How often a child that has not come far is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// How long it may take; no machine is so slow.
const LONGEST: Duration = Duration::from_secs(10);

/// Starts a command, as [`Command::spawn`] does. Between the change of the user and the program a child is a process
/// that its user may signal: one that is stopped there, so that it would never tell how the start went, is killed.
///
/// # Errors
/// Those of fork(2), of what the command sets up, and of execve(2); `Interrupted` for one that was stopped.
pub(super) fn launch(mut command: Command) -> io::Result<Pid> {
    let (mut told, mut tells) = io::pipe()?;
    // SAFETY: the child calls what the command set up, which makes system calls only, and execve; glibc's fork leaves
    // its allocator usable, and nothing else here takes a lock that another thread of ours might hold.
    let child = match unsafe { fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let error = command.exec().raw_os_error().unwrap_or(libc::EINVAL);
            let _ = tells.write_all(&error.to_ne_bytes());
            // the state of this process is a copy of its parent's: no exit handler may run
            exit_now(127)
        }
    };
    drop(tells);
    if let Err(error) = wait_for_word(&told, child) {
        if let Some(pid) = Pid::new(child.as_raw()) {
            kill_hard(pid)?;
        }
        let _ = waitpid(child, None);
        return Err(error);
    }
    let mut error = [0; 4];
    match told.read_exact(&mut error) {
        // closed by the program's start, or by a death that is noticed like any other
        Err(_) => Pid::new(child.as_raw()).ok_or_else(|| Errno::EINVAL.into()),
        Ok(()) => {
            let _ = waitpid(child, None);
            Err(io::Error::from_raw_os_error(i32::from_ne_bytes(error)))
        }
    }
}

/// Waits until the program runs, or cannot.
fn wait_for_word(told: &impl AsFd, child: Child) -> io::Result<()> {
    let end = Instant::now() + LONGEST;
    while poll::wait(&[told.as_fd()], Some(LOOK))?.is_empty() {
        let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let stopped = matches!(waitid(Id::Pid(child), flags), Ok(WaitStatus::Stopped(..)));
        if stopped || end <= Instant::now() {
            let what = "its user has stopped it before the program ran";
            return Err(io::Error::new(io::ErrorKind::Interrupted, what));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_stopped_on_its_way_holds_nobody_up() {
        let mut command = Command::new("/bin/true");
        let stop = || {
            nix::sys::signal::raise(nix::sys::signal::SIGSTOP)?;
            Ok(())
        };
        // SAFETY: it makes one system call.
        unsafe { command.pre_exec(stop) };
        let error = launch(command).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    }

    #[test]
    fn what_cannot_be_run_is_told() {
        let error = launch(Command::new("/nonexistent")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let pid = launch(Command::new("/bin/true")).unwrap();
        let child = Child::from_raw(pid.get());
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
    }
}
