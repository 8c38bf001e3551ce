//! `pipe`: the standard input of a command. A command that has ended is started again at the next event. The command's
//! output goes to descriptor 2 as it was before the log thread started.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::sys::descriptor::set_nonblocking;
use crate::sys::process::{self, Pid};
use crate::sys::signal::Signal;
use crate::sys::spawn::{self, LeaderSetup};

use super::sink::Sink;
use super::stream::StreamSink;

/// Minimum time between two starts of the command.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct PipeSink {
    name: String,
    command: String,
    /// The descriptor for the command's standard output and error.
    output: OwnedFd,
    input: StreamSink,
    /// The process id of the shell that runs the command. The shell leads a process group.
    leader: Pid,
    started: Instant,
}

impl PipeSink {
    /// Starts the command.
    ///
    /// # Errors
    /// Those of pipe(2) and of starting the shell.
    pub(super) fn open(command: &str, output: OwnedFd) -> io::Result<Self> {
        let name = format!("log pipe {command}");
        let (leader, input) = start(command, &output)?;
        Ok(Self {
            input: StreamSink::new(name.clone(), input),
            leader,
            name,
            command: command.to_owned(),
            output,
            started: Instant::now(),
        })
    }

    fn restart(&mut self) {
        self.started = Instant::now();
        match start(&self.command, &self.output) {
            Ok((leader, input)) => {
                self.leader = leader;
                tracing::warn!("{}: it has ended and was started again", self.name);
                self.input = StreamSink::new(self.name.clone(), input);
            }
            Err(error) => tracing::error!("{}: it cannot be started: {error}", self.name),
        }
    }
}

/// Starts the command in a new session; returns its shell, and the nonblocking write end of its standard input.
fn start(command: &str, output: &OwnedFd) -> io::Result<(Pid, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    set_nonblocking(&writer, true)?;
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", command])
        .stdin(reader)
        .stdout(File::from(output.try_clone()?))
        .stderr(File::from(output.try_clone()?));
    let setup = LeaderSetup {
        new_session: true,
        ..LeaderSetup::default()
    };
    let leader = spawn::spawn_leader(shell, &setup)?;
    Ok((leader, writer.into()))
}

impl Drop for PipeSink {
    /// Sends SIGCONT to a stopped command, so that the command notices the end of its input and ends.
    fn drop(&mut self) {
        if !self.input.is_broken {
            // a failure means that the command has ended
            let _ = process::signal_group(self.leader, Signal::SIGCONT);
        }
    }
}

impl Sink for PipeSink {
    fn write(&mut self, event: &[u8]) {
        if self.input.is_broken && self.started.elapsed() >= RETRY {
            self.restart();
        }
        self.input.write(event);
    }

    fn flush(&mut self) {
        self.input.flush();
    }

    fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        self.input.waits_for()
    }
}
