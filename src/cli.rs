//! The command line: runs a verb, prints the help, or starts a server.

use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
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

/// The commands for clap: the verbs with their flags. The flags of a server are here only for the help. The option
/// table parses them, because clap does not keep their order relative to ini files.
fn command() -> Command {
    with_help(base_command())
}

/// Adds `-h` and `--help` to each verb. The top level has its own help, which also describes the options.
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
       ruwsgi check [--strict] [--json] FILE...
       ruwsgi check [--strict] [--json] --emperor DIR
       ruwsgi show-config [--origin] [OPTIONS] [FILE.ini]
       ruwsgi migrate [--from gunicorn|supervisor] [--into DIR] FILE|COMMAND
       ruwsgi migrate nginx FILE
       ruwsgi VERB --help",
        )
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("check")
                .about("Check configuration files without starting anything; the exit status is 1 if a site would not start or not serve.")
                .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the findings as JSON."))
                .arg(Arg::new("strict").long("strict").action(ArgAction::SetTrue).help("The exit status is 1 for warnings too."))
                .arg(Arg::new("emperor").long("emperor").value_name("DIR").action(ArgAction::Append).help("Check all vassals of an emperor: a directory or a pattern."))
                .arg(
                    Arg::new("file")
                        .value_name("FILE")
                        .required_unless_present("emperor")
                        .help("A configuration file, or FILE:SECTION.")
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
                .about("Convert a configuration of uWSGI, gunicorn or supervisor to an ini file, on standard output; migrate nginx FILE prints the server block of nginx for it.")
                .arg(Arg::new("from").long("from").value_name("SERVER").help("The format of the input: uwsgi (the default), gunicorn or supervisor."))
                .arg(Arg::new("into").long("into").value_name("DIR").help("Write the files to this directory instead: NAME.ini for each program."))
                .arg(Arg::new("words").value_name("FILE|COMMAND").required(true).num_args(1..).trailing_var_arg(true).allow_hyphen_values(true)),
        )
        .subcommands(vassals::commands())
        .subcommand(Command::new("absent-page").hide(true))
        .subcommand(Command::new("options-page").hide(true))
        .subcommand(Command::new("defaults-page").hide(true))
}

fn verb(invocation: &Invocation) -> Option<ExitCode> {
    let first = invocation.argv.get(1).map(String::as_str)?;
    if first == "help" {
        return help_of(invocation);
    }
    if !first.starts_with('-') {
        let commands = command();
        let mut verbs = commands.get_subcommands().map(Command::get_name);
        if verbs.any(|verb| verb == first) {
            return Some(run_verb(invocation));
        }
        if let Some(verb) = misspelled_verb(first, &invocation.cwd) {
            return Some(print_error(&format!(
                "there is no command {first}; did you mean ruwsgi {verb}?"
            )));
        }
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

/// Handles `ruwsgi help` and `ruwsgi help VERB`.
fn help_of(invocation: &Invocation) -> Option<ExitCode> {
    let mut invocation = invocation.clone();
    invocation.argv.remove(1);
    invocation.argv.truncate(2);
    invocation.argv.push("--help".to_owned());
    verb(&invocation)
}

/// The verb most similar to `word`; `None` if `word` is a file, or not similar to a verb.
fn misspelled_verb(word: &str, cwd: &Path) -> Option<&'static str> {
    const VERBS: [&str; 3] = ["check", "show-config", "migrate"];
    let is_file = config::reads(word) || cwd.join(word).exists();
    let verbs = VERBS.into_iter().chain(vassals::names());
    config::nearest(word, verbs).filter(|_| !is_file)
}

/// Reports a misspelled flag that clap has taken for the first word of `words`. `None` if the first word is not similar
/// to `flag`.
fn misplaced_flag(verb: &str, flag: &str, words: &[String]) -> Option<ExitCode> {
    let given = words.first()?.split('=').next()?;
    let meant = config::nearest(given, std::iter::once(flag))?;
    (given != meant).then(|| {
        print_error(&format!(
            "ruwsgi {verb} has no flag {given}; did you mean {meant}?"
        ))
    })
}

/// The text of an error of clap. For a misspelled flag it suggests the similar flag.
fn usage_error(error: &clap::Error, argv: &[String]) -> String {
    let text = error.to_string();
    let text = text.trim_end().trim_start_matches("error: ");
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return text.to_owned();
    };
    let verb = argv.get(1).map_or("", String::as_str);
    let commands = command();
    let flags: Vec<String> = commands
        .find_subcommand(verb)
        .into_iter()
        .flat_map(|verb| verb.get_arguments())
        .filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
        .collect();
    let nearest = config::nearest(flag, flags.iter().map(String::as_str));
    match (error.kind(), nearest) {
        (ErrorKind::UnknownArgument, Some(known)) => {
            format!("ruwsgi {verb} has no flag {flag}; did you mean {known}?")
        }
        (ErrorKind::UnknownArgument, None) => {
            format!("ruwsgi {verb} has no flag {flag}; see ruwsgi {verb} --help")
        }
        _ => text.to_owned(),
    }
}

fn run_verb(invocation: &Invocation) -> ExitCode {
    let matches = match command().try_get_matches_from(&invocation.argv) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => return say(&error.to_string()),
        Err(error) => return print_error(&usage_error(&error, &invocation.argv)),
    };
    match matches.subcommand() {
        Some(("check", arguments)) => {
            let many = |name: &str| {
                let values = arguments.get_many::<String>(name);
                values.into_iter().flatten().cloned().collect()
            };
            let request = check::Request {
                files: many("file"),
                emperors: many("emperor"),
                strict: arguments.get_flag("strict"),
                json: arguments.get_flag("json"),
            };
            check::run(invocation, &request)
        }
        Some(("show-config", arguments)) => {
            let words: Vec<String> = arguments
                .get_many("arguments")
                .into_iter()
                .flatten()
                .cloned()
                .collect();
            if let Some(error) = misplaced_flag("show-config", "--origin", &words) {
                return error;
            }
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
            let into = arguments.get_one::<String>("into");
            let misplaced = ["--from", "--into"]
                .iter()
                .find_map(|flag| misplaced_flag("migrate", flag, &words));
            if let Some(error) = misplaced {
                return error;
            }
            let (from, into) = (from.map(String::as_str), into.map(String::as_str));
            migrate::run(invocation, from, into, &words)
        }
        Some((verb, arguments)) if vassals::is_verb(verb) => vassals::run(verb, arguments),
        Some(("absent-page", _)) => say(&config::docs::absent_page()),
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
