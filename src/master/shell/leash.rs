//! The leash: a watchdog process that ends a command's processes when the master is killed.

use std::io::{self, PipeWriter, Write};
use std::process::{Command, Stdio};

use crate::sys::process::Pid;
use crate::sys::signal::Signal;
use crate::sys::spawn::{self, LeaderSetup};

use super::command;

/// Shell script of the keeper, the process that reads the pipe of a leash.
///
/// The keeper reads one line and then exits. End of file without a line means that the master was killed. The keeper
/// then sends the stop signal `$2` to the process or process group `$3`, and waits up to three seconds for the exit of
/// the process group `$1`. After that it kills this process group.
const KEEPER: &str = "\
read -r word && exit 0
kill -s \"$2\" -- \"$3\" || exit 0
for second in 1 2 3; do
  sleep 1
  kill -s 0 -- \"-$1\" || exit 0
done
kill -s KILL -- \"-$1\"
";

/// A pipe to the keeper of one process group.
///
/// Dropping the leash ends the keeper and leaves the process group alone. If the master is killed, the pipe closes
/// without a message, and the keeper ends the process group.
#[derive(Debug)]
pub(in crate::master) struct Leash(Option<PipeWriter>);

impl Leash {
    /// Starts the keeper of the process group that `leader` leads and that runs `command`. On failure, logs a warning
    /// and returns a leash without effect.
    pub(in crate::master) fn new(leader: Pid, stop: Signal, command: &str) -> Self {
        match spawn_keeper(leader, stop, command) {
            Ok(pipe) => Self(Some(pipe)),
            Err(error) => {
                tracing::warn!(
                    "{command} (pid {leader}): cannot start its watchdog: {error}; it will not be stopped if the master is killed"
                );
                Self(None)
            }
        }
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(pipe) = &mut self.0 {
            // the write fails only if the keeper has exited already
            let _ = pipe.write_all(b"done\n");
        }
    }
}

fn spawn_keeper(leader: Pid, stop: Signal, command: &str) -> io::Result<PipeWriter> {
    let (theirs, ours) = io::pipe()?;
    let stop_target = if command::leader_is_program(command) {
        leader.to_string()
    } else {
        format!("-{leader}")
    };
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", KEEPER, "ruwsgi-keeper"])
        .arg(leader.to_string())
        .arg((stop as i32).to_string())
        .arg(stop_target)
        .stdin(theirs)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    spawn::spawn_leader(shell, &LeaderSetup::default())?;
    Ok(ours)
}
