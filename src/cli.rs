//! The command line: which of ruwsgi's roles this process takes.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command};
use nix::sys::signal::Signal;

use crate::config::{self, Config, Finding, Invocation};
use crate::exit;
use crate::master::emperor_link::EmperorLink;
use crate::process::VassalEnvironment;

mod check;
mod fallback;
mod migrate;
mod vassals;

/// Runs what was asked for and returns the exit status.
pub fn main() -> ExitCode {
    let vassal = VassalEnvironment::take();
    let mut invocation = Invocation::from_process();
    invocation.vassal_file = vassal.file.clone();
    match verb(&invocation) {
        Some(status) => status,
        None => serve(invocation, &vassal),
    }
}

/// The verbs. Flags stand beside them: their order matters across ini files, which clap does not keep, so they are
/// read by the table and clap only describes them in the help.
fn command() -> Command {
    Command::new("ruwsgi")
        .about("An application server for Python that speaks uWSGI's configuration and protocol.")
        .override_usage(
            "ruwsgi [OPTIONS] [FILE.ini]
       ruwsgi check [--json] FILE...
       ruwsgi show-config [--origin] [OPTIONS] [FILE.ini]
       ruwsgi migrate [--from gunicorn|supervisor] FILE|COMMAND",
        )
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("check")
                .about("Check configuration files and report all mistakes.")
                .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Write the findings as JSON."))
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
                .about("Print the effective configuration; with --origin also where each value comes from.")
                .arg(Arg::new("origin").long("origin").action(ArgAction::SetTrue).help("Say where each value comes from, and the defaults."))
                .arg(Arg::new("arguments").value_name("OPTIONS").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true)),
        )
        .subcommand(
            Command::new("migrate")
                .about("Write an ini file for uWSGI's, gunicorn's or supervisor's configuration.")
                .arg(Arg::new("from").long("from").value_name("SERVER").help("uwsgi, gunicorn or supervisor; uwsgi without it."))
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
        Err(error) => return complain(error.to_string().trim_end().trim_start_matches("error: ")),
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
            show_config(invocation, &words, arguments.get_flag("origin"))
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
        _ => complain("there is no such command"),
    }
}

/// Prints the effective configuration: what counts of what was given and, with the origins, the defaults of the rest.
fn show_config(invocation: &Invocation, arguments: &[String], origin: bool) -> ExitCode {
    let argv = std::iter::once("ruwsgi".to_owned())
        .chain(arguments.iter().cloned())
        .collect();
    let config = match config::load(&Invocation::new(
        argv,
        invocation.env.clone(),
        invocation.cwd.clone(),
    )) {
        Ok(config) => config,
        Err(report) => return complain_of(&report.findings),
    };
    complain_of(config.warnings());
    let mut text = String::from(if origin { "" } else { "[uwsgi]\n" });
    for (name, value, place) in config.effective() {
        match place {
            Some(place) if origin => text.push_str(&format!("{place}\t{name} = {value}\n")),
            _ => text.push_str(&format!("{name} = {value}\n")),
        }
    }
    if origin {
        let defaults = config.defaulted();
        text.extend(
            defaults
                .iter()
                .map(|(name, value)| format!("default\t{name} = {value}\n")),
        );
    }
    say(&text)
}

fn serve(invocation: Invocation, vassal: &VassalEnvironment) -> ExitCode {
    let emperor = EmperorLink::new(vassal);
    if let Err(sentence) = vassals::run_start_hook(vassal) {
        emperor.failed(&sentence);
        return complain(&sentence);
    }
    let (config, invocation, second) = match load(invocation) {
        Ok(loaded) => loaded,
        Err(findings) => {
            emperor.failed(&vassals::sentence(&findings));
            return complain_of(&findings);
        }
    };
    complain_of(config.warnings());
    if let Some(file) = config.stop() {
        return signal(file, Signal::SIGINT);
    }
    if let Some(file) = config.reload() {
        return signal(file, Signal::SIGHUP);
    }
    if config.show_config() {
        return say(&config_text(&config));
    }
    if invocation.argv.len() < 2 && config.entries().is_empty() {
        return complain(
            "nothing to serve; write ruwsgi site.ini, or ruwsgi --http :8000 --wsgi-file app.py, or see ruwsgi --help",
        );
    }
    let printed = config
        .entries()
        .iter()
        .filter(|(name, _, _)| matches!(name.as_str(), "print" | "iprint"));
    say(&printed
        .map(|(_, value, _)| format!("{value}\n"))
        .collect::<String>());
    // an emperor sees a vassal fail, and has its own way with it
    let fallback = config
        .fallback()
        .filter(|_| !second && !emperor.is_vassal());
    let fallback = fallback.map(|file| (invocation.clone(), file.to_owned()));
    let status = if config.emperor().is_empty() {
        crate::master::run(config, invocation, emperor)
    } else if emperor.is_vassal() {
        let sentence = "a vassal cannot be an emperor: name all directories to the first one";
        emperor.failed(sentence);
        return complain(sentence);
    } else {
        crate::emperor::run(&config, &invocation)
    };
    if let Some((invocation, file)) = fallback.filter(|_| status == exit::FAILED) {
        complain(&format!("starting with {file} instead (fallback-config)"));
        let error = fallback::exec(&invocation, &file);
        return complain(&format!("cannot start anew: {error}"));
    }
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}

/// The configuration to serve with, what it was read from, and whether it is the second try: its fallback.
fn load(invocation: Invocation) -> Result<(Config, Invocation, bool), Vec<Finding>> {
    let second = !fallback::is_left();
    let report = match config::load(&invocation) {
        Ok(config) => return Ok((config, invocation, second)),
        Err(report) => report,
    };
    let Some(other) = fallback::of(&invocation).filter(|_| !second) else {
        return Err(report.findings);
    };
    complain_of(&report.findings);
    let file = other.argv.last().map_or("", String::as_str);
    complain(&format!("starting with {file} instead (fallback-config)"));
    match config::load(&other) {
        Ok(config) => Ok((config, other, true)),
        Err(report) => Err(report.findings),
    }
}

/// The effective configuration as uWSGI prints it. Unlike uWSGI, which goes on to serve, ruwsgi then exits.
fn config_text(config: &Config) -> String {
    let lines: String = config
        .entries()
        .iter()
        .map(|(name, value, _)| format!("{name} = {value}\n"))
        .collect();
    format!(";uWSGI instance configuration\n[uwsgi]\n{lines};end of configuration\n")
}

/// Sends a signal to the instance whose process id is in a file.
fn signal(file: &str, signal: Signal) -> ExitCode {
    match crate::process::pidfile::signal(Path::new(file), signal) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => complain(&error.to_string()),
    }
}

/// Writes to standard output; a reader that went away is no reason to fail.
fn say(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Writes to standard error; returns the status of a failure.
fn complain(text: &str) -> ExitCode {
    // without a standard error there is no one to tell
    let _ = writeln!(std::io::stderr().lock(), "ruwsgi: {text}");
    ExitCode::FAILURE
}

fn complain_of(findings: &[Finding]) -> ExitCode {
    for finding in findings {
        complain(&finding.to_string());
    }
    ExitCode::FAILURE
}
