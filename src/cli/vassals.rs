//! The verbs that control emperors and masters, and the start hook of a vassal.

use std::process::{Command as Program, ExitCode, Stdio};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::config::{Finding, Severity};
use crate::control::client::{self, Failure, Question};
use crate::ipc::control::{Count, Verb};
use crate::process::VassalEnvironment;

use super::output::{print_error, say};

const VERBS: [(&str, Verb, &str); 8] = [
    ("ls", Verb::List, "List the running vassals and instances."),
    (
        "status",
        Verb::Status,
        "Show workers, requests in flight and sockets of one; without NAME, the emperor.",
    ),
    (
        "reload",
        Verb::Reload,
        "Reload configuration and application.",
    ),
    (
        "stop",
        Verb::Stop,
        "Stop it. A vassal stays stopped until ruwsgi start.",
    ),
    ("start", Verb::Start, "Start a vassal that was stopped."),
    (
        "retry",
        Verb::Retry,
        "Start a failed vassal now, without the rest of its backoff.",
    ),
    (
        "scale",
        Verb::Scale,
        "Set the number of workers, at most processes.",
    ),
    ("kill-worker", Verb::KillWorker, "Replace a worker."),
];

/// The clap commands of the verbs, with their arguments.
pub(super) fn commands() -> impl Iterator<Item = Command> {
    VERBS.into_iter().map(|(name, verb, about)| {
        let command = Command::new(name).about(about).args([
            Arg::new("control")
                .long("control")
                .value_name("SOCKET")
                .help("The control socket (control-socket, emperor-control). Without it, all sockets in the runtime directory are used."),
            flag("json", "Print the response as JSON."),
        ]);
        let wait = flag("wait", "Wait until the order is complete; the exit status is 1 if it failed.");
        let who = Arg::new("name")
            .value_name("NAME")
            .help("The vassal or instance: the name of its file (the extension is optional), or the path of its file, pidfile or control socket.");
        match verb {
            Verb::List => command,
            Verb::Status => command.arg(who),
            Verb::Scale => command.args([
                who.required(true),
                Arg::new("count")
                    .value_name("N|+N|-N")
                    .required(true)
                    .allow_hyphen_values(true)
                    .value_parser(Count::parse)
                    .help("The number of workers, or a difference to the current number. With 0 there is no worker until the next connection."),
                wait,
            ]),
            Verb::KillWorker => command.args([
                who.required(true),
                Arg::new("worker")
                    .value_name("N")
                    .required(true)
                    .value_parser(value_parser!(u32).range(1..))
                    .help("The worker's number, from 1."),
                flag("now", "Kill it at once, with its requests in flight."),
                wait,
            ]),
            _ => command.args([who, wait]),
        }
    })
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
}

/// The names of the verbs that control emperors and masters.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    VERBS.into_iter().map(|(name, ..)| name)
}

/// Whether `verb` controls emperors and masters.
pub(super) fn is_verb(verb: &str) -> bool {
    VERBS.iter().any(|(known, ..)| *known == verb)
}

/// Sends the request to the control socket, waits for the response and prints it.
pub(super) fn run(verb: &str, arguments: &ArgMatches) -> ExitCode {
    let text = |name: &str| {
        arguments
            .try_get_one::<String>(name)
            .ok()
            .flatten()
            .cloned()
    };
    let flag = |name: &str| matches!(arguments.try_get_one::<bool>(name), Ok(Some(true)));
    let known = VERBS.iter().find(|(known, ..)| *known == verb);
    let (name, control) = (text("name"), text("control").map(Into::into));
    let verb = known.map_or(Verb::List, |(_, verb, _)| *verb);
    let question = Question {
        verb,
        name,
        wait: flag("wait"),
        worker: arguments.try_get_one("worker").ok().flatten().copied(),
        count: arguments.try_get_one("count").ok().flatten().copied(),
        now: flag("now"),
        control,
        json: flag("json"),
    };
    match client::ask(&question) {
        Ok(text) => say(&text),
        Err(Failure::Message(sentence)) => print_error(&sentence),
        Err(Failure::Json(text)) => {
            say(&text);
            ExitCode::FAILURE
        }
    }
}

/// Runs `vassals-start-hook` in the vassal's directory and as its user, if the emperor has such a hook. Waits for its
/// end.
///
/// # Errors
/// Returns a sentence if the hook fails; the vassal must not start then.
pub(super) fn run_start_hook(vassal: &VassalEnvironment) -> Result<(), String> {
    let Some(hook) = &vassal.start_hook else {
        return Ok(());
    };
    let shown = hook.display();
    let status = Program::new(hook)
        .arg(&vassal.name)
        .stdin(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the start hook {shown} failed: {status}")),
        Err(error) => Err(format!("the start hook {shown} cannot be run: {error}")),
    }
}

/// Describes the errors of a configuration in one sentence for the emperor: the first error, and the number of further
/// errors.
pub(super) fn sentence(findings: &[Finding]) -> String {
    let mut errors = findings.iter().filter(|it| it.severity == Severity::Error);
    let first = errors.next().map(ToString::to_string).unwrap_or_default();
    match errors.count() {
        0 => first,
        more => format!("{first} (and {more} more)"),
    }
}
