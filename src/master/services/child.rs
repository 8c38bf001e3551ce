//! Helper processes: spawned by the shell, their output in our log, none left behind.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::config::Config;
use crate::log;
use crate::master::plan::{self, Plan};
use crate::sys::process::{self, Pid};
use crate::sys::signal::Signal;
use crate::sys::spawn::{self, LeaderSetup};
use crate::sys::user::Identity;
use crate::sys::{pipe, stdio};

/// A longer line of a helper is broken into several.
const LONGEST_LINE: usize = 8 << 10;

/// How much of a helper's output is read at once, so that one that writes without end does not hold up the master.
const AT_ONCE: usize = 32 << 10;

/// How many pipes are kept whose command has ended, but not all that it left behind.
const MOST_LEFT_OPEN: usize = 64;

/// What outlives a killed master only to end the processes of a helper: it reads its leash, and when that ends without
/// a word it sends the helper the stop signal and, after a while, its group SIGKILL.
const KEEPER: &str = "\
read -r word && exit 0
kill -s \"$2\" -- \"$3\" || exit 0
for second in 1 2 3; do
  sleep 1
  kill -s 0 -- \"-$1\" || exit 0
done
kill -s KILL -- \"-$1\"
";

/// Where helpers run.
#[derive(Clone, Debug, Default)]
pub(in crate::master) struct Surroundings {
    /// Their working directory; empty is the master's own.
    pub(in crate::master) directory: PathBuf,
    /// Their environment, all of it.
    pub(in crate::master) environment: Vec<(OsString, OsString)>,
}

impl Surroundings {
    /// Those of a generation.
    pub(in crate::master) fn of(plan: &Plan) -> Self {
        Self {
            directory: plan.directory.clone(),
            environment: plan.environment.clone(),
        }
    }

    /// Those of a configuration, in the directory that the master is in.
    pub(in crate::master) fn here(config: &Config) -> Self {
        Self {
            directory: PathBuf::new(),
            environment: plan::environment(config, std::env::vars_os()),
        }
    }
}

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub(in crate::master) struct Errand<'a> {
    /// The helper's name in the log.
    pub(in crate::master) name: &'a str,
    /// The command, for `/bin/sh -c`.
    pub(in crate::master) command: &'a str,
    /// Its directory, if it has one of its own.
    pub(in crate::master) directory: Option<&'a Path>,
    /// It reads what the master reads.
    pub(in crate::master) stdin: bool,
    /// The user it becomes.
    pub(in crate::master) identity: Option<&'a Identity>,
}

impl<'a> Errand<'a> {
    pub(in crate::master) fn new(name: &'a str, command: &'a str) -> Self {
        Self {
            name,
            command,
            directory: None,
            stdin: false,
            identity: None,
        }
    }

    fn shell(&self, around: &Surroundings) -> Command {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", &executed(self.command)])
            .env_clear()
            .envs(around.environment.iter().map(|(name, value)| (name, value)));
        let directory = around
            .directory
            .join(self.directory.unwrap_or(Path::new("")));
        if directory != Path::new("") {
            shell.current_dir(directory);
        }
        if !self.stdin {
            shell.stdin(Stdio::null());
        }
        shell
    }

    /// Runs it as a child whose output is read by `outputs`, and which gets `death` when the master dies.
    ///
    /// # Errors
    /// When a pipe cannot be made or the shell cannot be executed.
    pub(in crate::master) fn run(
        &self,
        around: &Surroundings,
        death: Signal,
        outputs: &mut Outputs,
    ) -> io::Result<Pid> {
        let (reader, writer) = pipe::for_output()?;
        let mut shell = self.shell(around);
        shell.stdout(writer.try_clone()?).stderr(writer);
        let setup = LeaderSetup {
            identity: self.identity,
            parent_death_signal: Some(death),
            ..LeaderSetup::default()
        };
        let pid = spawn::spawn_leader(shell, &setup)?;
        outputs.add(self.name, pid, reader);
        Ok(pid)
    }

    /// Runs it as a child that outlives the master, and so writes to the log itself.
    ///
    /// # Errors
    /// As [`Errand::run`].
    pub(in crate::master) fn run_for_good(&self, around: &Surroundings) -> io::Result<Pid> {
        let mut shell = self.shell(around);
        shell
            .stdout(stdio::stderr_again()?)
            .stderr(stdio::stderr_again()?);
        let setup = LeaderSetup {
            identity: self.identity,
            new_session: true,
            ..LeaderSetup::default()
        };
        spawn::spawn_leader(shell, &setup)
    }
}

/// What a shell would take for itself, if it stood first.
const BUILT_IN: &[&str] = &[
    ".", ":", "!", "[", "[[", "alias", "case", "cd", "command", "eval", "exec", "exit", "export",
    "for", "if", "read", "readonly", "set", "source", "test", "trap", "ulimit", "umask", "unset",
    "until", "wait", "while",
];

/// A command whose shell makes room for it where it can, so that signals reach the program itself.
fn executed(command: &str) -> Cow<'_, str> {
    if is_simple(command) {
        Cow::Owned(format!("exec {command}"))
    } else {
        Cow::Borrowed(command)
    }
}

/// Whether a command is one program with its arguments.
fn is_simple(command: &str) -> bool {
    let first = command.split_whitespace().next().unwrap_or_default();
    // 2>&1 is no second command
    let bare = command.replace(">&", ">");
    !bare.contains([';', '&', '|', '(', ')', '{', '}', '`', '\n'])
        && !first.is_empty()
        && !first.contains('=')
        && !BUILT_IN.contains(&first)
}

/// Whether the first process of a command's group is the program that the signals are meant for.
pub(in crate::master) fn leads(command: &str) -> bool {
    is_simple(command) || command.split_whitespace().any(|word| word == "exec")
}

/// What ends a helper's processes should the master be killed; dropped, it lets them be.
#[derive(Debug)]
pub(in crate::master) struct Leash(Option<PipeWriter>);

impl Leash {
    /// Watches over the group that `leader` leads.
    pub(in crate::master) fn new(leader: Pid, stop: Signal, command: &str) -> Self {
        match Self::keeper(leader, stop, leads(command)) {
            Ok(leash) => Self(Some(leash)),
            Err(error) => {
                tracing::warn!(
                    "nothing will end process {leader} if the master is killed: {error}"
                );
                Self(None)
            }
        }
    }

    fn keeper(leader: Pid, stop: Signal, leads: bool) -> io::Result<PipeWriter> {
        let (theirs, ours) = io::pipe()?;
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", KEEPER, "ruwsgi-keeper"])
            .arg(leader.to_string())
            .arg((stop as i32).to_string())
            .arg(format!("{}{leader}", if leads { "" } else { "-" }))
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        spawn::spawn_leader(shell, &LeaderSetup::default())?;
        Ok(ours)
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(leash) = &mut self.0 {
            // a keeper that is gone needs no word
            let _ = leash.write_all(b"done\n");
        }
    }
}

/// Sends a signal to all processes of a helper.
pub(in crate::master) fn signal(name: &str, leader: Pid, signal: Signal) {
    if let Err(error) = process::signal_group(leader, signal) {
        tracing::error!("{name} (pid {leader}) cannot be sent {signal}: {error}");
    }
}

/// What helpers write, line by line into the log.
#[derive(Debug, Default)]
pub(in crate::master) struct Outputs(Vec<Output>);

#[derive(Debug)]
struct Output {
    name: String,
    pid: Pid,
    pipe: PipeReader,
    /// A line that has no end yet.
    begun: Vec<u8>,
    /// Its command has ended.
    left_open: bool,
}

impl Outputs {
    fn add(&mut self, name: &str, pid: Pid, pipe: PipeReader) {
        self.0.push(Output {
            name: name.to_owned(),
            pid,
            pipe,
            begun: Vec::new(),
            left_open: false,
        });
    }

    /// What to wait for.
    pub(in crate::master) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|output| output.pipe.as_fd())
    }

    /// Reads those of these places, in the order of [`Outputs::descriptors`].
    pub(in crate::master) fn read(&mut self, places: &[usize]) {
        let mut place = 0;
        self.0.retain_mut(|output| {
            let stays = !places.contains(&place) || output.read();
            place += 1;
            stays
        });
    }

    /// Reads what the command of this process has left; others may still write.
    pub(in crate::master) fn ended(&mut self, pid: Pid) {
        self.0.retain_mut(|output| {
            output.left_open |= output.pid == pid;
            output.pid != pid || output.read()
        });
        while self.0.iter().filter(|output| output.left_open).count() > MOST_LEFT_OPEN {
            if let Some(oldest) = self.0.iter().position(|output| output.left_open) {
                self.0.remove(oldest);
            }
        }
    }
}

impl Output {
    /// Reads what is there, as far as it is not too much; false at the end.
    fn read(&mut self) -> bool {
        let mut chunk = [0; 4096];
        let mut read = 0;
        while read < AT_ONCE {
            match self.pipe.read(&mut chunk) {
                Ok(0) => {
                    self.end();
                    return false;
                }
                Ok(bytes) => {
                    self.take(&chunk[..bytes]);
                    read += bytes;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        true
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.extend(&bytes[..end]);
            self.log();
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
    }

    fn extend(&mut self, mut bytes: &[u8]) {
        while self.begun.len() + bytes.len() > LONGEST_LINE {
            let (fits, rest) = bytes.split_at(LONGEST_LINE - self.begun.len());
            self.begun.extend_from_slice(fits);
            self.log();
            bytes = rest;
        }
        self.begun.extend_from_slice(bytes);
    }

    fn log(&mut self) {
        let line = self.begun.trim_ascii_end();
        if !line.is_empty() {
            log::relay(&self.name, self.pid.get(), line);
        }
        self.begun.clear();
    }

    fn end(&mut self) {
        if !self.begun.is_empty() {
            self.log();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn output() -> (Output, PipeWriter) {
        let (pipe, writer) = pipe::for_output().unwrap();
        let output = Output {
            name: "test".to_owned(),
            pid: Pid::own(),
            pipe,
            begun: Vec::new(),
            left_open: false,
        };
        (output, writer)
    }

    #[test]
    fn a_line_without_an_end_is_kept_until_it_has_one_or_is_too_long() {
        let (mut output, _writer) = output();
        output.take(b"one\ntwo");
        assert_eq!(output.begun, b"two");
        output.take(b"\n");
        assert!(output.begun.is_empty());
        output.take(&vec![b'x'; LONGEST_LINE * 2 + 5]);
        assert_eq!(output.begun.len(), 5);
    }

    #[test]
    fn one_program_takes_the_place_of_its_shell() {
        for command in ["celery -A site worker", "x > log 2>&1", "x \"$HOME\" *.py"] {
            assert_eq!(executed(command), format!("exec {command}"));
            assert!(leads(command));
        }
        for command in [
            "cd a && b",
            "a; b",
            "A=1 b",
            "exec b",
            "test -e a",
            "a | b",
            "a &",
            "",
        ] {
            assert_eq!(executed(command), command);
        }
        assert!(leads("cd a && exec b") && !leads("cd a && b"));
    }

    #[test]
    fn an_output_ends_with_its_last_writer() {
        let (mut output, mut writer) = output();
        writer.write_all(b"text").unwrap();
        assert!(output.read());
        drop(writer);
        assert!(!output.read());
    }

    #[test]
    fn one_that_writes_without_end_is_read_in_pieces() {
        let (mut output, mut writer) = output();
        writer.write_all(&[b'\n'; AT_ONCE + 4096]).unwrap();
        drop(writer);
        assert!(output.read());
        assert!(!output.read());
    }
}
