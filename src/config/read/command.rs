//! Runs commands whose output is a part of the configuration: `exec://command` and `emperor-magic-exec`.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::config::finding::{Fault, shortened};

use super::limits::MAX_FILE;

/// The timeout of a command. A reloading master is blocked while the command runs.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The interval at which a command that closed its output is polled for its exit.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Runs a command by `/bin/sh -c`, waits for its exit and returns its output. The command inherits the standard error
/// of ruwsgi.
///
/// # Errors
/// When the command cannot be run, exceeds the timeout or the maximum output, or exits with a status other than 0.
pub(crate) fn output(command: &str, cwd: &Path) -> Result<Vec<u8>, Fault> {
    within(TIMEOUT, command, cwd)
}

/// Runs a file, waits for its exit and returns its output. `/bin/sh` runs a script without an interpreter line.
///
/// # Errors
/// The same errors as for [`output`].
pub(crate) fn output_of_file(file: &Path, cwd: &Path) -> Result<Vec<u8>, Fault> {
    let mut shell = shell(r#"exec "$0""#);
    run(TIMEOUT, shell.arg(file), cwd).map_err(|why| {
        Fault::new(format!(
            "the executable file {} was run (emperor-magic-exec): {why}",
            file.display()
        ))
    })
}

/// Whether this process may execute a file.
pub(crate) fn is_executable(file: &Path) -> bool {
    nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok()
}

fn within(limit: Duration, command: &str, cwd: &Path) -> Result<Vec<u8>, Fault> {
    run(limit, &mut shell(command), cwd).map_err(|why| {
        let fault = Fault::new(format!("exec://{}: {why}", shortened(command)));
        match why {
            Failure::Status(_) => fault
                .hint("uWSGI uses the output of a failed command; append || true to do the same"),
            _ => fault,
        }
    })
}

fn shell(script: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script]);
    shell
}

fn run(limit: Duration, command: &mut Command, cwd: &Path) -> Result<Vec<u8>, Failure> {
    let mut child = command
        .current_dir(cwd)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // the command gets its own process group, so that `kill` reaches its descendants too
        .process_group(0)
        .spawn()
        .map_err(Failure::Spawn)?;
    let printed = read_output(&mut child, Instant::now() + limit);
    if printed.is_err() {
        kill(&mut child);
    }
    let printed = printed.map_err(|why| match why {
        ReadFailure::Timeout => Failure::Timeout(limit),
        ReadFailure::TooLong => Failure::TooLong,
        ReadFailure::Io(error) => Failure::Io(error),
    })?;
    let status = child.wait().map_err(Failure::Io)?;
    match status.success() {
        true => Ok(printed),
        false => Err(Failure::Status(status)),
    }
}

/// Why the output of a command cannot be used.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("it cannot be run: {0}")]
    Spawn(std::io::Error),
    #[error("it took more than {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("it printed more than {MAX_FILE} bytes")]
    TooLong,
    #[error("it failed ({0})")]
    Status(ExitStatus),
    #[error("{0}")]
    Io(std::io::Error),
}

/// Why the output could not be read to its end.
enum ReadFailure {
    Timeout,
    TooLong,
    Io(std::io::Error),
}

impl From<std::io::Error> for ReadFailure {
    fn from(error: std::io::Error) -> Self {
        ReadFailure::Io(error)
    }
}

/// Reads the output to its end, then waits for the exit of the command. Fails if the command has not exited by
/// `deadline`.
fn read_output(child: &mut Child, deadline: Instant) -> Result<Vec<u8>, ReadFailure> {
    let mut printed = Vec::new();
    if let Some(mut pipe) = child.stdout.take() {
        let mut buffer = [0; 8192];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) => return Err(ReadFailure::Timeout),
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(ReadFailure::Io(error.into())),
                Ok(_) => {}
            }
            match pipe.read(&mut buffer)? {
                0 => break,
                size => printed.extend_from_slice(&buffer[..size]),
            }
            if printed.len() as u64 > MAX_FILE {
                return Err(ReadFailure::TooLong);
            }
        }
    }
    while child.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            return Err(ReadFailure::Timeout);
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(printed)
}

/// Kills the process group of the command, and reaps the command.
fn kill(child: &mut Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // the call fails if all processes of the group have already exited
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fault(command: &str) -> String {
        within(Duration::from_millis(300), command, Path::new("/"))
            .unwrap_err()
            .what
    }

    #[test]
    fn the_output_of_a_command_is_read() {
        let printed = output("pwd; echo $((1 + 1)); cat", Path::new("/tmp")).unwrap();
        assert_eq!(printed, b"/tmp\n2\n");
    }

    #[test]
    fn a_command_that_fails_hangs_or_floods_is_an_error() {
        assert!(fault("echo a; exit 3").contains("exit status: 3"));
        assert!(fault("sleep 1000 & sleep 1000").contains("took more than"));
        assert!(fault("exec >&-; sleep 1000").contains("took more than"));
        let flood = output("yes", Path::new("/")).unwrap_err().what;
        assert!(flood.contains("more than 4194304 bytes"), "{flood}");
    }
}
