//! The command line: verbs, help, and otherwise the start of a server.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command};

use crate::config::{self, Invocation};
use crate::process::VassalEnvironment;

use output::{print_error, say};

mod check;
mod fallback;
mod migrate;
mod output;
mod serve;
mod show_config;
mod vassals;

/// Runs the command line of this process; returns its exit status.
pub fn main() -> ExitCode {
    let vassal = VassalEnvironment::take();
    let mut invocation = Invocation::from_process();
    invocation.vassal_file = vassal.file.clone();
    match verb(&invocation) {
        Some(status) => status,
        None => serve::serve(invocation, &vassal),
    }
}

/// The verbs. The flags of a server are read by the table of options, because their order relative to ini files matters
/// and clap does not keep it; clap describes them in the help.
fn command() -> Command {
    with_help(base_command())
}

/// Adds `-h` and `--help` to each verb. The top level has none: its help describes the options too.
fn with_help(command: Command) -> Command {
    command.mut_subcommands(|verb| {
        verb.arg(
            Arg::new("help")
                .short('h')
                .long("help")
                .action(ArgAction::Help)
                .help("Print this help."),
        )
    })
}

fn base_command() -> Command {
    Command::new("ruwsgi")
        .about("An application server for Python that speaks uWSGI's configuration and protocol.")
        .override_usage(
            "ruwsgi [OPTIONS] [FILE.ini]
       ruwsgi check [--json] FILE...
       ruwsgi show-config [--origin] [OPTIONS] [FILE.ini]
       ruwsgi migrate [--from gunicorn|supervisor] FILE|COMMAND
       ruwsgi VERB --help",
        )
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("check")
                .about("Check configuration files and report all errors.")
                .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the findings as JSON."))
                .arg(
                    Arg::new("file")
                        .value_name("FILE")
                        .required(true)
                        .action(ArgAction::Append)
                        .num_args(1..),
                ),
        )
        .subcommand(
            Command::new("show-config")
                .about("Print the effective configuration.")
                .arg(Arg::new("origin").long("origin").action(ArgAction::SetTrue).help("Print the place of each value, and the defaults of the other options."))
                .arg(Arg::new("arguments").value_name("OPTIONS").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true)),
        )
        .subcommand(
            Command::new("migrate")
                .about("Convert a configuration of uWSGI, gunicorn or supervisor to an ini file, on standard output.")
                .arg(Arg::new("from").long("from").value_name("SERVER").help("The format of the input: uwsgi (the default), gunicorn or supervisor."))
                .arg(Arg::new("words").value_name("FILE|COMMAND").required(true).num_args(1..).trailing_var_arg(true).allow_hyphen_values(true)),
        )
        .subcommands(vassals::commands())
        .subcommand(Command::new("options-page").hide(true))
        .subcommand(Command::new("defaults-page").hide(true))
}

fn verb(invocation: &Invocation) -> Option<ExitCode> {
    let first = invocation.argv.get(1).map(String::as_str)?;
    if !first.starts_with('-')
        && command()
            .get_subcommands()
            .any(|verb| verb.get_name() == first)
    {
        return Some(run_verb(invocation));
    }
    let asked = |flags: &[&str]| {
        invocation
            .argv
            .iter()
            .skip(1)
            .take_while(|argument| *argument != "--")
            .any(|argument| flags.contains(&argument.as_str()))
    };
    if asked(&["--help", "-h", "--usage"]) {
        let help = config::docs::describe(command())
            .term_width(100)
            .render_help();
        return Some(say(&format!(
            "{help}\nOther options of uWSGI are accepted without effect or refused with a reason: see docs/options.md.\n"
        )));
    }
    if asked(&["--version"]) {
        return Some(say(&format!("ruwsgi {}\n", env!("CARGO_PKG_VERSION"))));
    }
    None
}

fn run_verb(invocation: &Invocation) -> ExitCode {
    let matches = match command().try_get_matches_from(&invocation.argv) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => return say(&error.to_string()),
        Err(error) => {
            return print_error(error.to_string().trim_end().trim_start_matches("error: "));
        }
    };
    match matches.subcommand() {
        Some(("check", arguments)) => {
            let files = arguments.get_many::<String>("file").into_iter().flatten();
            check::run(
                invocation,
                files.map(String::as_str),
                arguments.get_flag("json"),
            )
        }
        Some(("show-config", arguments)) => {
            let words: Vec<String> = arguments
                .get_many("arguments")
                .into_iter()
                .flatten()
                .cloned()
                .collect();
            show_config::run(invocation, &words, arguments.get_flag("origin"))
        }
        Some(("migrate", arguments)) => {
            let words: Vec<String> = arguments
                .get_many("words")
                .into_iter()
                .flatten()
                .cloned()
                .collect();
            let from = arguments.get_one::<String>("from");
            migrate::run(invocation, from.map(String::as_str), &words)
        }
        Some((verb, arguments)) if vassals::is_verb(verb) => vassals::run(verb, arguments),
        Some(("options-page", _)) => say(&config::docs::page()),
        Some(("defaults-page", _)) => say(&config::compat::page()),
        _ => print_error("there is no such command"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_answers_help() {
        let verbs: Vec<String> = command()
            .get_subcommands()
            .map(|verb| verb.get_name().to_owned())
            .collect();
        assert!(verbs.len() > 10, "{verbs:?}");
        for verb in verbs {
            for flag in ["--help", "-h"] {
                let error = command()
                    .try_get_matches_from(["ruwsgi", &verb, flag])
                    .unwrap_err();
                assert_eq!(error.kind(), ErrorKind::DisplayHelp, "{verb} {flag}");
            }
        }
    }
}
