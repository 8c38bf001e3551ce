//! `ruwsgi migrate`: converts a configuration to an ini file, on standard output.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::config::migrate::nginx::server_block;
use crate::config::migrate::{Migrated, Origin, migrate, recognized};
use crate::config::{self, Invocation};

use crate::sys::path_error;

use super::output::{print_error, print_errors, say};

/// Prints the ini files for a configuration of the format `from`, or writes them to the directory `into`. A
/// configuration of gunicorn is a file or a command line. `nginx FILE` prints nginx's server block instead.
pub(super) fn run(
    invocation: &Invocation,
    from: Option<&str>,
    into: Option<&str>,
    words: &[String],
) -> ExitCode {
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
        (Some("gunicorn"), false) => {
            let files = migrate(Origin::GunicornCommand, "", &joined);
            return write(&files, into.map(|directory| (directory, "gunicorn")));
        }
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
                None => {
                    let files = migrate(origin, &file.to_string_lossy(), &text);
                    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
                    write(&files, into.map(|directory| (directory, &*stem)))
                }
            }
        }
        Err(error) => {
            let reason = path_error::reason(&file, &error);
            print_error(&format!("{joined} cannot be read: {reason}"))
        }
    }
}

/// Prints the converted files, or writes them to a directory under their names. If there is only one file, it has the
/// given name. An existing file is not replaced.
fn write(files: &[Migrated], into: Option<(&str, &str)>) -> ExitCode {
    let Some((directory, only)) = into else {
        let texts: Vec<&str> = files.iter().map(|file| file.text.as_str()).collect();
        return say(&texts.join("\n"));
    };
    for file in files {
        let stem = match file.name.replace('/', "_") {
            name if name.is_empty() => only.to_owned(),
            name => name,
        };
        let path = Path::new(directory).join(format!("{stem}.ini"));
        let created = File::create_new(&path);
        let written = created.and_then(|mut it| it.write_all(file.text.as_bytes()));
        if let Err(error) = written {
            let reason = path_error::reason(&path, &error);
            return print_error(&format!("{} cannot be written: {reason}", path.display()));
        }
        if say(&format!("{}\n", path.display())) != ExitCode::SUCCESS {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
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
