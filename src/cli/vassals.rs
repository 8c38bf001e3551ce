//! The verbs that ask an emperor about its vassals, and what a vassal does before it reads its file.

use std::process::{Command as Program, ExitCode, Stdio};

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::{Finding, Severity};
use crate::control::client::{self, Question};
use crate::sys::environment;

use super::{complain, say};

const VERBS: [(&str, &str); 6] = [
    ("ls", "List the vassals of the emperors that run here."),
    ("status", "Tell everything about a vassal."),
    (
        "reload",
        "Load a vassal's configuration and application anew.",
    ),
    ("stop", "Stop a vassal until it is started again."),
    ("start", "Start a vassal that was stopped."),
    ("retry", "Start a vassal that failed at once."),
];

/// The verbs, described.
pub(super) fn commands() -> impl Iterator<Item = Command> {
    VERBS.into_iter().map(|(verb, about)| {
        let control = Arg::new("control")
            .long("control")
            .value_name("SOCKET")
            .help("The emperor's control socket (emperor-control); without it all emperors that are found are asked.");
        let flag = |name, help| {
            Arg::new(name)
                .long(name)
                .action(ArgAction::SetTrue)
                .help(help)
        };
        let name = Arg::new("name")
            .value_name("NAME")
            .required(true)
            .help("The vassal: its file's name, also without the extension, or its path.");
        let command = Command::new(verb)
            .about(about)
            .arg(control)
            .arg(flag("json", "Write what the emperor says as JSON."));
        match verb {
            "ls" => command,
            "status" => command.arg(name),
            _ => command
                .arg(name)
                .arg(flag("wait", "Come back when it is done, and fail if it failed.")),
        }
    })
}

/// Whether this is one of them.
pub(super) fn is_verb(verb: &str) -> bool {
    VERBS.iter().any(|(known, _)| *known == verb)
}

/// Asks, and prints the answer.
pub(super) fn run(verb: &str, arguments: &ArgMatches) -> ExitCode {
    let text = |name: &str| {
        arguments
            .try_get_one::<String>(name)
            .ok()
            .flatten()
            .cloned()
    };
    let flag = |name: &str| matches!(arguments.try_get_one::<bool>(name), Ok(Some(true)));
    let question = Question {
        verb: verb.to_owned(),
        name: text("name"),
        wait: flag("wait"),
        control: text("control").map(Into::into),
        json: flag("json"),
    };
    match client::ask(&question) {
        Ok(text) => say(&text),
        Err(sentence) => complain(&sentence),
    }
}

/// Runs `vassals-start-hook`, if an emperor asked for it, in the vassal's directory and as its user.
///
/// # Errors
/// A sentence about a hook that failed: then the vassal does not start.
pub(super) fn run_start_hook() -> Result<(), String> {
    let Some(hook) = environment::take("RUWSGI_EMPEROR_HOOK") else {
        return Ok(());
    };
    let shown = hook.display();
    let vassal = std::env::var_os("RUWSGI_VASSAL").unwrap_or_default();
    let status = Program::new(&hook)
        .arg(vassal)
        .stdin(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the start hook {shown} failed: {status}")),
        Err(error) => Err(format!("the start hook {shown} cannot be run: {error}")),
    }
}

/// What is wrong with a configuration, in one sentence for the emperor's list.
pub(super) fn sentence(findings: &[Finding]) -> String {
    let mut errors = findings.iter().filter(|it| it.severity == Severity::Error);
    let first = errors.next().map(ToString::to_string).unwrap_or_default();
    match errors.count() {
        0 => first,
        more => format!("{first} (and {more} more)"),
    }
}
