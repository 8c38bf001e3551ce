//! `ruwsgi migrate`: converts a configuration to an ini file, on standard output.

use std::process::ExitCode;

use crate::config::Invocation;
use crate::config::migrate::{Origin, migrate, recognized};

use crate::sys::path_error;

use super::output::{print_error, say};

/// Prints the ini file for a configuration; that of gunicorn is a file or a command line.
pub(super) fn run(invocation: &Invocation, from: Option<&str>, words: &[String]) -> ExitCode {
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

/// The message about a file that is a configuration of another server.
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
