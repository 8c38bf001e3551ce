//! `exec://command` and `emperor-magic-exec`: what a command prints, as part of a configuration.

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
use crate::config::read::file::LARGEST_FILE;

/// How long a command may take: a master that reloads waits for it.
const LONGEST: Duration = Duration::from_secs(10);
/// How often a command that closed its output is asked whether it has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// Runs a command in `/bin/sh -c` and returns what it prints. Its standard error is ours.
///
/// # Errors
/// When it cannot be run, does not end in time, prints too much, or ends with another status than 0.
pub(crate) fn output(command: &str, cwd: &Path) -> Result<Vec<u8>, Fault> {
    within(LONGEST, command, cwd)
}

/// Runs a file and returns what it prints, as [`output`] does. One that names no interpreter is a shell's script.
///
/// # Errors
/// The same.
pub(crate) fn output_of_file(file: &Path, cwd: &Path) -> Result<Vec<u8>, Fault> {
    let mut shell = shell(r#"exec "$0""#);
    run(LONGEST, shell.arg(file), cwd).map_err(|why| {
        Fault::new(format!(
            "{}, which is executable, was run (emperor-magic-exec): {why}",
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
            Mishap::Failed(_) => fault
                .hint("uWSGI takes what it printed all the same; append || true if that is meant"),
            _ => fault,
        }
    })
}

fn shell(script: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script]);
    shell
}

fn run(limit: Duration, command: &mut Command, cwd: &Path) -> Result<Vec<u8>, Mishap> {
    let mut child = command
        .current_dir(cwd)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // a group of its own, so that what it started can be ended with it
        .process_group(0)
        .spawn()
        .map_err(Mishap::NotRun)?;
    let printed = finished(&mut child, Instant::now() + limit);
    if printed.is_err() {
        end(&mut child);
    }
    let printed = printed.map_err(|why| match why {
        Unfinished::Late => Mishap::Late(limit),
        Unfinished::Long => Mishap::Long,
        Unfinished::Broken(error) => Mishap::Broken(error),
    })?;
    let status = child.wait().map_err(Mishap::Broken)?;
    match status.success() {
        true => Ok(printed),
        false => Err(Mishap::Failed(status)),
    }
}

/// Why what a command prints cannot be had.
#[derive(Debug, thiserror::Error)]
enum Mishap {
    #[error("it cannot be run: {0}")]
    NotRun(std::io::Error),
    #[error("it took more than {} s", .0.as_secs())]
    Late(Duration),
    #[error("it printed more than {LARGEST_FILE} bytes")]
    Long,
    #[error("it failed ({0})")]
    Failed(ExitStatus),
    #[error("{0}")]
    Broken(std::io::Error),
}

/// Why there is no output.
enum Unfinished {
    Late,
    Long,
    Broken(std::io::Error),
}

impl From<std::io::Error> for Unfinished {
    fn from(error: std::io::Error) -> Self {
        Unfinished::Broken(error)
    }
}

/// Reads until the end of the output, and waits for the end of the command.
fn finished(child: &mut Child, deadline: Instant) -> Result<Vec<u8>, Unfinished> {
    let mut printed = Vec::new();
    if let Some(mut pipe) = child.stdout.take() {
        let mut piece = [0; 8192];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) => return Err(Unfinished::Late),
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(Unfinished::Broken(error.into())),
                Ok(_) => {}
            }
            match pipe.read(&mut piece)? {
                0 => break,
                size => printed.extend_from_slice(&piece[..size]),
            }
            if printed.len() as u64 > LARGEST_FILE {
                return Err(Unfinished::Long);
            }
        }
    }
    while child.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            return Err(Unfinished::Late);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(printed)
}

/// Ends the command and all that it started.
fn end(child: &mut Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // it may be gone already
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn said(command: &str) -> String {
        within(Duration::from_millis(300), command, Path::new("/"))
            .unwrap_err()
            .what
    }

    #[test]
    fn what_a_command_prints_is_read() {
        let printed = output("pwd; echo $((1 + 1)); cat", Path::new("/tmp")).unwrap();
        assert_eq!(printed, b"/tmp\n2\n");
    }

    #[test]
    fn a_command_that_fails_hangs_or_floods_is_an_error() {
        assert!(said("echo a; exit 3").contains("exit status: 3"));
        assert!(said("sleep 1000 & sleep 1000").contains("took more than"));
        assert!(said("exec >&-; sleep 1000").contains("took more than"));
        let flood = output("yes", Path::new("/")).unwrap_err().what;
        assert!(flood.contains("more than 4194304 bytes"), "{flood}");
    }
}
