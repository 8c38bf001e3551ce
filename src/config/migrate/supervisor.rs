//! Converts the programs of a supervisor configuration to ini files of vassals.

use ini::{Ini, ParseOption};

use super::gunicorn;
use super::python::{self, Literal};
use super::vassal::{Vassal, one_line};
use super::words;
use crate::config::read::flags::{self, Typed};

/// Converts a supervisor configuration to one text with an ini file for each program.
pub(super) fn from_file(text: &str) -> String {
    let programs = match programs(text) {
        Ok(programs) => programs,
        Err(error) => {
            return format!(
                "# the file is not valid: {}\n",
                one_line(&error.to_string())
            );
        }
    };
    if programs.is_empty() {
        return "# the file has no section [program:...]\n".to_owned();
    }
    programs
        .iter()
        .map(|(name, settings)| program(name, settings))
        .collect::<Vec<_>>()
        .join("\n")
}

type Settings = Vec<(String, String)>;

/// Reads the programs of a file and their settings.
///
/// In supervisor's parser, `;` after a blank begins a comment, and an indented line continues the previous line.
/// `logical_lines` resolves both before the text is read as ini.
fn programs(text: &str) -> Result<Vec<(String, Settings)>, ini::ParseError> {
    let options = ParseOption {
        enabled_quote: false,
        enabled_escape: false,
        ..ParseOption::default()
    };
    let ini = Ini::load_from_str_opt(&logical_lines(text), options)?;
    let programs = ini.iter().filter_map(|(section, settings)| {
        let name = section?.strip_prefix("program:")?.trim().to_owned();
        let settings = settings
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some((name, settings.collect()))
    });
    Ok(programs.collect())
}

/// Removes comments and joins continuation lines. Lines that are neither a section nor a setting are left out.
fn logical_lines(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let line = line
            .split_once(" ;")
            .map_or(line, |(before, _)| before)
            .trim_end();
        if line.trim().is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        let is_section = |line: &str| line.starts_with('[') && line.ends_with(']');
        let is_setting = |line: &str| {
            let name = line.split_once('=').map_or("", |(name, _)| name.trim());
            !name.is_empty() && !name.starts_with('[')
        };
        match lines.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) && !is_section(last) => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ if is_section(line) || is_setting(line) => {
                lines.push(line.trim().to_owned());
            }
            _ => {}
        }
    }
    // each line ends with a blank: for rust-ini, a backslash at the end of a line is a continuation; for supervisor it
    // is not
    lines.join(" \n")
}

fn program(name: &str, settings: &Settings) -> String {
    let mut vassal = Vassal::new(&format!("{name}.ini, from supervisor's [program:{name}]"));
    for (setting_name, value) in settings {
        // %(program_name)s is a placeholder of supervisor
        let value = value.replace("%(program_name)s", name).replace("%%", "%");
        setting(&mut vassal, setting_name, &value);
    }
    vassal.finish()
}

fn setting(vassal: &mut Vassal, name: &str, value: &str) {
    let from = format!("{name} = {value}");
    match name {
        "command" => command(vassal, value),
        "directory" => vassal.option("chdir", value, &from),
        "user" => vassal.option("uid", value, &from),
        "umask" => vassal.option("umask", value, &from),
        "environment" => environment(vassal, value),
        "stopwaitsecs" => vassal.option("worker-reload-mercy", value, &from),
        "stdout_logfile" if !matches!(value, "AUTO" | "NONE" | "/dev/stdout" | "/dev/fd/1") => {
            vassal.option("logto", value, &from)
        }
        "stdout_logfile_maxbytes" => match bytes(value) {
            Some(bytes) => vassal.option("log-maxsize", &bytes.to_string(), &from),
            None => vassal.comment(&from),
        },
        "numprocs" if value == "1" => {}
        "numprocs" => vassal.comment(&format!("{from}: use processes for several workers")),
        "autostart" | "autorestart" => match value {
            "false" => vassal.comment(&format!(
                "{from}: add the file to the emperor's directory when the program is to run"
            )),
            _ => vassal.comment(&format!("{from}: this is the default")),
        },
        "stopsignal" => vassal.comment(&format!(
            "{from}: TERM, INT and QUIT finish the requests in flight and stop"
        )),
        "startsecs" | "startretries" => vassal.comment(&format!(
            "{from}: an instance has started when its workers are ready; restart delays grow"
        )),
        "redirect_stderr" | "stopasgroup" | "killasgroup" | "stderr_logfile" | "priority"
        | "process_name" => vassal.comment(&format!("{from}: not needed")),
        _ => vassal.comment(&format!("{from}: no corresponding option")),
    }
}

/// Adds the options of a command. Commands of gunicorn, uWSGI and ruwsgi are converted; another command becomes
/// `attach-daemon`.
fn command(vassal: &mut Vassal, value: &str) {
    let words = words::split(value);
    let program = |name: &str| {
        words
            .iter()
            .position(|word| word.rsplit('/').next() == Some(name))
    };
    vassal.comment(&format!("command = {value}"));
    if program("gunicorn").is_some() {
        return gunicorn::add_command(vassal, value);
    }
    let Some(at) = program("uwsgi").or_else(|| program("ruwsgi")) else {
        return vassal.option(
            "attach-daemon",
            value,
            "not a server of Python applications",
        );
    };
    for typed in flags::read(words.get(at + 1..).unwrap_or_default()) {
        match typed {
            Typed::Flag(name, value) => vassal.option(name, &value, &format!("--{name}")),
            Typed::File(file) => vassal.raw(&format!("include = {file}")),
            Typed::Invalid(fault) => vassal.comment(&fault.what),
        }
    }
}

/// Adds an `env` option for each variable of a list such as `A="1",B='2'`.
fn environment(vassal: &mut Vassal, value: &str) {
    // split the list at commas outside of quotes
    let listed = value
        .split(',')
        .fold(Vec::<String>::new(), |mut parts, piece| {
            let unfinished = |text: &str| {
                text.matches('"').count() % 2 == 1 || text.matches('\'').count() % 2 == 1
            };
            match parts.last_mut() {
                Some(last) if unfinished(last) => last.push_str(&format!(",{piece}")),
                _ => parts.push(piece.to_owned()),
            }
            parts
        });
    for pair in listed.iter().filter_map(|pair| pair.split_once('=')) {
        let value = match python::assignments(&format!("v = {}", pair.1.trim())).pop() {
            Some((_, Literal::Word(word))) => word,
            _ => pair.1.trim().to_owned(),
        };
        vassal.option("env", &format!("{}={value}", pair.0.trim()), "environment");
    }
}

/// Converts a size such as 20MB, 1GB or 500KB to bytes.
fn bytes(text: &str) -> Option<u64> {
    let upper = text.to_ascii_uppercase();
    let units = [("KB", 1 << 10), ("MB", 1 << 20), ("GB", 1 << 30)];
    let unit = units
        .iter()
        .find_map(|(unit, size)| Some((upper.strip_suffix(unit)?, *size)));
    let (digits, size) = unit.unwrap_or((&upper, 1));
    digits.trim().parse::<u64>().ok()?.checked_mul(size)
}
