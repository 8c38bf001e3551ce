//! Shell commands as child processes: the context of a command, its spawn, and signals to its process group.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::config::Config;
use crate::log;
use crate::master::plan::{self, Plan};
use crate::sys::pipe;
use crate::sys::process::{self, Pid};
use crate::sys::signal::Signal;
use crate::sys::spawn::{self, LeaderSetup};
use crate::sys::user::Identity;

use super::output::Outputs;

/// The working directory and the environment in which commands run.
#[derive(Clone, Debug, Default)]
pub(in crate::master) struct CommandContext {
    /// The working directory; an empty path stands for the master's current directory.
    pub(in crate::master) directory: PathBuf,
    /// The complete environment.
    pub(in crate::master) environment: Vec<(OsString, OsString)>,
}

impl CommandContext {
    /// Returns the context of a generation: the directory and environment of its zygote.
    pub(in crate::master) fn of_generation(plan: &Plan) -> Self {
        Self {
            directory: plan.directory.clone(),
            environment: plan.environment.clone(),
        }
    }

    /// Returns the context of a configuration: the master's current directory, and the environment of the application.
    pub(in crate::master) fn of_config(config: &Config) -> Self {
        Self {
            directory: PathBuf::new(),
            environment: plan::environment(config, std::env::vars_os()),
        }
    }
}

/// A command line and the process attributes it runs with.
#[derive(Clone, Copy, Debug)]
pub(in crate::master) struct ShellCommand<'a> {
    /// The name of the command in the log.
    pub(in crate::master) name: &'a str,
    /// The command line for `/bin/sh -c`.
    pub(in crate::master) line: &'a str,
    /// The working directory, relative to the context's directory; `None` for the context's directory.
    pub(in crate::master) directory: Option<&'a Path>,
    /// Whether the command inherits the master's standard input. Otherwise its standard input is `/dev/null`.
    pub(in crate::master) inherits_stdin: bool,
    /// The user and groups to run as; `None` for those of the master.
    pub(in crate::master) identity: Option<&'a Identity>,
}

impl<'a> ShellCommand<'a> {
    /// Creates a command with the default process attributes.
    pub(in crate::master) fn new(name: &'a str, line: &'a str) -> Self {
        Self {
            name,
            line,
            directory: None,
            inherits_stdin: false,
            identity: None,
        }
    }

    fn shell(&self, context: &CommandContext) -> Command {
        let mut shell = Command::new("/bin/sh");
        let environment = context.environment.iter();
        shell
            .args(["-c", &with_exec(self.line)])
            .env_clear()
            .envs(environment.map(|(name, value)| (name, value)));
        let directory = context
            .directory
            .join(self.directory.unwrap_or(Path::new("")));
        if directory != Path::new("") {
            shell.current_dir(directory);
        }
        if !self.inherits_stdin {
            shell.stdin(Stdio::null());
        }
        shell
    }

    /// Spawns the command as the leader of a process group. Adds the pipe with its output to `outputs`. The kernel
    /// sends `death_signal` to the command when the master exits (PR_SET_PDEATHSIG, prctl(2)).
    ///
    /// # Errors
    /// If the output pipe cannot be created or the shell cannot be executed.
    pub(in crate::master) fn spawn(
        &self,
        context: &CommandContext,
        death_signal: Signal,
        outputs: &mut Outputs,
    ) -> io::Result<Pid> {
        let (reader, writer) = pipe::for_output()?;
        let mut shell = self.shell(context);
        shell.stdout(writer.try_clone()?).stderr(writer);
        let setup = LeaderSetup {
            identity: self.identity,
            parent_death_signal: Some(death_signal),
            ..LeaderSetup::default()
        };
        let pid = spawn::spawn_leader(shell, &setup)?;
        outputs.add(self.name, pid, reader);
        Ok(pid)
    }

    /// Spawns the command as the leader of a new session, so that the command can outlive the master. The command
    /// writes to the log directly, not through the master.
    ///
    /// # Errors
    /// If the log's descriptor cannot be duplicated or the shell cannot be executed.
    pub(in crate::master) fn spawn_detached(&self, context: &CommandContext) -> io::Result<Pid> {
        let mut shell = self.shell(context);
        shell
            .stdout(log::thread::lasting_output()?)
            .stderr(log::thread::lasting_output()?);
        let setup = LeaderSetup {
            identity: self.identity,
            new_session: true,
            ..LeaderSetup::default()
        };
        spawn::spawn_leader(shell, &setup)
    }
}

/// Words that a shell interprets itself. If a command line begins with such a word, `exec` in front of the line fails
/// or changes its meaning.
const SHELL_WORDS: &[&str] = &[
    ".", ":", "!", "[", "[[", "alias", "case", "cd", "command", "eval", "exec", "exit", "export",
    "for", "if", "read", "readonly", "set", "source", "test", "trap", "ulimit", "umask", "unset",
    "until", "wait", "while",
];

/// Returns the command line, with `exec` in front if the line is a single program. Signals then reach the program and
/// not a shell.
fn with_exec(line: &str) -> Cow<'_, str> {
    if is_single_program(line) {
        Cow::Owned(format!("exec {line}"))
    } else {
        Cow::Borrowed(line)
    }
}

/// Whether a command line is a single program with its arguments. Returns false in case of doubt.
fn is_single_program(line: &str) -> bool {
    let first = line.split_whitespace().next().unwrap_or_default();
    // the `&` of `2>&1` starts no second command
    let without_redirections = line.replace(">&", ">");
    !without_redirections.contains([';', '&', '|', '(', ')', '{', '}', '`', '\n'])
        && !first.is_empty()
        && !first.contains('=')
        && !SHELL_WORDS.contains(&first)
}

/// Whether the leader of the command's process group becomes the program itself. Otherwise the leader is a shell that
/// waits for the program.
pub(in crate::master) fn leader_is_program(line: &str) -> bool {
    is_single_program(line) || line.split_whitespace().any(|word| word == "exec")
}

/// Sends a signal to the process group that `leader` leads. Logs an error on failure.
pub(in crate::master) fn signal_group(name: &str, leader: Pid, signal: Signal) {
    if let Err(error) = process::signal_group(leader, signal) {
        tracing::error!(
            "{name} (pid {leader}): cannot send {signal} to its process group: {error}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_program_replaces_its_shell() {
        for line in ["celery -A site worker", "x > log 2>&1", "x \"$HOME\" *.py"] {
            assert_eq!(with_exec(line), format!("exec {line}"));
            assert!(leader_is_program(line));
        }
        for line in [
            "cd a && b",
            "a; b",
            "A=1 b",
            "exec b",
            "test -e a",
            "a | b",
            "a &",
            "",
        ] {
            assert_eq!(with_exec(line), line);
        }
        assert!(leader_is_program("cd a && exec b") && !leader_is_program("cd a && b"));
    }
}
