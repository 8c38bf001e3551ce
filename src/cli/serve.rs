//! Loads the configuration, and starts a master or an emperor.

use std::path::Path;
use std::process::ExitCode;

use nix::sys::signal::Signal;

use crate::config::{self, Config, Finding, Invocation};
use crate::exit;
use crate::master::emperor_link::EmperorLink;
use crate::process::VassalEnvironment;
use crate::process::running_instance::RunningInstance;

use super::output::{print_error, print_errors, say};
use super::{fallback, vassals};

/// Reads the configuration and serves. With `--stop` or `--reload` it signals a running instance instead.
pub(super) fn serve(invocation: Invocation, vassal: &VassalEnvironment) -> ExitCode {
    let emperor = EmperorLink::new(vassal);
    if let Err(sentence) = vassals::run_start_hook(vassal) {
        emperor.failed(&sentence);
        return print_error(&sentence);
    }
    let (config, invocation, second) = match load(invocation) {
        Ok(loaded) => loaded,
        Err(findings) => {
            emperor.failed(&vassals::sentence(&findings));
            return print_errors(&findings);
        }
    };
    print_errors(config.warnings());
    if let Some(file) = config.stop() {
        return signal(file, Signal::SIGINT);
    }
    if let Some(file) = config.reload() {
        return signal(file, Signal::SIGHUP);
    }
    if config.show_config() {
        say(&config_text(&config));
    }
    if let Some(status) = config.exit() {
        return ExitCode::from(status);
    }
    if config.no_server() {
        return ExitCode::SUCCESS;
    }
    if invocation.argv.len() < 2 && config.entries().is_empty() {
        return print_error(
            "nothing to serve; write ruwsgi site.ini, or ruwsgi --http :8000 --wsgi-file app.py, or see ruwsgi --help",
        );
    }
    print_texts(&config);
    if config.pyrun().is_some() {
        let status = crate::master::run_script(&config, &invocation);
        return ExitCode::from(u8::try_from(status).unwrap_or(1));
    }
    // a vassal does not use its fallback, because the emperor restarts a vassal that fails
    let fallback = config
        .fallback()
        .filter(|_| !second && !emperor.is_vassal());
    let fallback = fallback.map(|file| (invocation.clone(), file.to_owned()));
    let status = if config.emperor().is_empty() {
        crate::master::run(config, invocation, emperor)
    } else if emperor.is_vassal() {
        let sentence = "a vassal cannot be an emperor: name all directories to the first one";
        emperor.failed(sentence);
        return print_error(sentence);
    } else {
        crate::emperor::run(&config, &invocation)
    };
    if let Some((invocation, file)) = fallback.filter(|_| status == exit::FAILED) {
        print_error(&format!("starting with {file} instead (fallback-config)"));
        let error = fallback::exec(&invocation, &file);
        return print_error(&format!("cannot execute ruwsgi again: {error}"));
    }
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}

/// Prints the values of `print` and `iprint`.
fn print_texts(config: &Config) {
    let entries = config.entries().iter();
    let texts: String = entries
        .filter(|(name, _, _)| matches!(name.as_str(), "print" | "iprint"))
        .map(|(_, value, _)| format!("{value}\n"))
        .collect();
    say(&texts);
}

/// Loads the configuration, or its `fallback-config` if it is invalid. Returns the configuration, its invocation, and
/// whether it is the fallback.
fn load(invocation: Invocation) -> Result<(Config, Invocation, bool), Vec<Finding>> {
    let second = !fallback::can_fall_back();
    let report = match config::load(&invocation) {
        Ok(config) => return Ok((config, invocation, second)),
        Err(report) => report,
    };
    let Some(other) = fallback::of(&invocation).filter(|_| !second) else {
        return Err(report.findings);
    };
    print_errors(&report.findings);
    let file = other.argv.last().map_or("", String::as_str);
    print_error(&format!("starting with {file} instead (fallback-config)"));
    match config::load(&other) {
        Ok(config) => Ok((config, other, true)),
        Err(report) => Err(report.findings),
    }
}

/// The options as given by the user, in uWSGI's format.
fn config_text(config: &Config) -> String {
    let lines: String = config
        .entries()
        .iter()
        .map(|(name, value, _)| format!("{name} = {value}\n"))
        .collect();
    format!(";uWSGI instance configuration\n[uwsgi]\n{lines};end of configuration\n")
}

/// Sends a signal to the instance whose process id is in the pidfile `file`.
fn signal(file: &str, signal: Signal) -> ExitCode {
    let sent = RunningInstance::of_pidfile(Path::new(file)).and_then(|it| it.signal(signal));
    match sent {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => print_error(&error.to_string()),
    }
}
