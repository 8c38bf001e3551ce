//! `ruwsgi migrate`: converts a configuration to an ini file, on standard output.

use std::process::ExitCode;

use crate::config::migrate::nginx::server_block;
use crate::config::migrate::{Origin, migrate, recognized};
use crate::config::{self, Invocation};

use crate::sys::path_error;

use super::output::{print_error, print_errors, say};

/// Prints the ini file for a configuration of the format `from`. A configuration of gunicorn is a file or a command
/// line. `nginx FILE` prints nginx's server block instead.
pub(super) fn run(invocation: &Invocation, from: Option<&str>, words: &[String]) -> ExitCode {
    if let ([verb, file], None) = (words, from)
        && verb == "nginx"
    {
        return print_server_block(invocation, file);
    }
    let joined = words.join(" ");
    let file = invocation.cwd.join(&joined);
    let origin = match (from, file.is_file()) {
        (None | Some("uwsgi"), _) => Origin::Uwsgi,
        (Some("gunicorn"), true) => Origin::GunicornFile,
        (Some("gunicorn"), false) => return say(&migrate(Origin::GunicornCommand, &joined)),
        (Some("supervisor"), _) => Origin::Supervisor,
        (Some(other), _) => {
            return print_error(&format!(
                "unknown format {other}; write --from uwsgi, gunicorn or supervisor"
            ));
        }
    };
    match std::fs::read(&file) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let expected = match origin {
                Origin::Uwsgi => "uwsgi",
                Origin::GunicornFile | Origin::GunicornCommand => "gunicorn",
                Origin::Supervisor => "supervisor",
            };
            match recognized(&text).filter(|found| *found != expected) {
                Some(found) => print_error(&other_kind(&joined, found)),
                None => say(&migrate(origin, &text)),
            }
        }
        Err(error) => {
            let reason = path_error::reason(&file, &error);
            print_error(&format!("{joined} cannot be read: {reason}"))
        }
    }
}

/// Prints nginx's server block for a configuration file of ruwsgi.
fn print_server_block(invocation: &Invocation, file: &str) -> ExitCode {
    let argv = ["ruwsgi", "--include", file].map(str::to_owned).to_vec();
    let cwd = invocation.cwd.clone();
    let invocation = Invocation::new(argv, invocation.env.clone(), cwd);
    let config = match config::load(&invocation) {
        Ok(config) => config,
        Err(report) => return print_errors(&report.findings),
    };
    match server_block(&config, &invocation.cwd) {
        Ok(text) => say(&text),
        Err(sentence) => print_error(&format!("{file}: {sentence}")),
    }
}

/// The error message for a file that is the configuration of another program.
fn other_kind(file: &str, found: &str) -> String {
    match found {
        "systemd" => format!(
            "{file} is a unit of systemd: convert the command of its ExecStart=: ruwsgi migrate --from gunicorn \"COMMAND\""
        ),
        "nginx" => format!("{file} is a configuration of nginx, which ruwsgi needs unchanged"),
        found => format!(
            "{file} is a configuration of {found}: write ruwsgi migrate --from {found} {file}"
        ),
    }
}
