//! Starts a program as another user. That user may stop the child before the child executes the program.

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

/// Interval between two checks whether a child was stopped before its exec.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);
/// Maximum time from fork to exec.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Starts a command, as [`Command::spawn`] does, and waits until exec has succeeded or failed.
///
/// Between the change of its user and exec, the child can be signalled by its new user. If that user stops the child,
/// this function kills it; [`Command::spawn`] would wait for ever.
///
/// # Errors
/// Those of fork(2), of the command's `pre_exec` and of execve(2); `Interrupted` if the child was stopped or timed out.
pub(super) fn launch(mut command: Command) -> io::Result<Pid> {
    // exec closes the child's end of the pipe; if exec fails, the child writes the errno to it
    let (mut reader, mut writer) = io::pipe()?;
    // SAFETY: the child runs the command's `pre_exec`, which makes system calls only, and execve. glibc's fork leaves
    // the allocator usable, and no other lock that another thread may hold is taken.
    let child = match unsafe { fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let error = command.exec().raw_os_error().unwrap_or(libc::EINVAL);
            let _ = writer.write_all(&error.to_ne_bytes());
            // this process is a copy of its parent, so no exit handler may run in it
            exit_now(127)
        }
    };
    drop(writer);
    if let Err(error) = wait_for_exec(&reader, child) {
        if let Some(pid) = Pid::new(child.as_raw()) {
            kill_hard(pid)?;
        }
        let _ = waitpid(child, None);
        return Err(error);
    }
    let mut error = [0; 4];
    match reader.read_exact(&mut error) {
        // the pipe is closed: exec has succeeded, or the child has died; a dead child is reaped as usual
        Err(_) => Pid::new(child.as_raw()).ok_or_else(|| Errno::EINVAL.into()),
        Ok(()) => {
            let _ = waitpid(child, None);
            Err(io::Error::from_raw_os_error(i32::from_ne_bytes(error)))
        }
    }
}

/// Waits until the pipe is readable, which means that exec has succeeded or failed. Fails if the child was stopped, or
/// after [`TIMEOUT`].
fn wait_for_exec(reader: &impl AsFd, child: Child) -> io::Result<()> {
    let end = Instant::now() + TIMEOUT;
    while poll::wait(&[reader.as_fd()], Some(CHECK_INTERVAL))?.is_empty() {
        let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let stopped = matches!(waitid(Id::Pid(child), flags), Ok(WaitStatus::Stopped(..)));
        if stopped || end <= Instant::now() {
            let reason = "its user has stopped it before the program ran";
            return Err(io::Error::new(io::ErrorKind::Interrupted, reason));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_is_stopped_before_exec_is_killed() {
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
    fn a_missing_program_is_an_error() {
        let error = launch(Command::new("/nonexistent")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let pid = launch(Command::new("/bin/true")).unwrap();
        let child = Child::from_raw(pid.get());
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
    }
}
