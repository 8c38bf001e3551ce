//! supervisor's programs as vassals.

use super::gunicorn;
use super::python::{self, Literal};
use super::vassal::Vassal;
use super::words;
use crate::config::read::flags::{self, Typed};

/// The ini files for a supervisor configuration, one behind the other.
pub(super) fn from_file(text: &str) -> String {
    let programs = programs(text);
    if programs.is_empty() {
        return "# there is no [program:...] in it\n".to_owned();
    }
    programs
        .iter()
        .map(|(name, settings)| program(name, settings))
        .collect::<Vec<_>>()
        .join("\n")
}

type Settings = Vec<(String, String)>;

/// The programs and their settings; `;` behind a blank begins a comment, an indented line continues the one before.
fn programs(text: &str) -> Vec<(String, Settings)> {
    let mut programs: Vec<(String, Settings)> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let bare = line
            .split_once(" ;")
            .map_or(line, |(bare, _)| bare)
            .trim_end();
        if bare.trim().is_empty() || bare.starts_with([';', '#']) {
            continue;
        }
        if let Some(section) = bare
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            inside = section.starts_with("program:");
            if let Some(name) = section.strip_prefix("program:") {
                programs.push((name.trim().to_owned(), Vec::new()));
            }
            continue;
        }
        let Some((_, settings)) = programs.last_mut().filter(|_| inside) else {
            continue;
        };
        match (
            bare.starts_with([' ', '\t']),
            bare.split_once('='),
            settings.last_mut(),
        ) {
            (true, _, Some((_, value))) => {
                value.push(' ');
                value.push_str(bare.trim());
            }
            (_, Some((name, value)), _) => {
                settings.push((name.trim().to_owned(), value.trim().to_owned()))
            }
            _ => {}
        }
    }
    programs
}

fn program(name: &str, settings: &Settings) -> String {
    let mut vassal = Vassal::new(&format!("{name}.ini, from supervisor's [program:{name}]"));
    for (setting_name, value) in settings {
        // %(program_name)s and its kin are supervisor's own placeholders
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
        "stdout_logfile" if !matches!(value, "AUTO" | "NONE" | "/dev/stdout" | "/dev/fd/1") => vassal.option("logto", value, &from),
        "stdout_logfile_maxbytes" => match bytes(value) {
            Some(bytes) => vassal.option("log-maxsize", &bytes.to_string(), &from),
            None => vassal.comment(&from),
        },
        "numprocs" if value == "1" => {}
        "numprocs" => vassal.comment(&format!("{from}: set processes instead of starting it several times")),
        "autostart" | "autorestart" => match value {
            "false" => vassal.comment(&format!("{from}: keep the file out of the vassals' directory until it shall run")),
            _ => vassal.comment(&format!("{from}: it is so anyway")),
        },
        "stopsignal" => vassal.comment(&format!("{from}: TERM, INT and QUIT all finish the requests in flight and stop")),
        "startsecs" | "startretries" => vassal.comment(&format!("{from}: an instance counts as started when its workers are ready, and pauses between tries grow")),
        "redirect_stderr" | "stopasgroup" | "killasgroup" | "stderr_logfile" | "priority" | "process_name" => vassal.comment(&format!("{from}: not needed")),
        _ => vassal.comment(&format!("{from}: nothing here corresponds to it")),
    }
}

/// What the program runs: gunicorn and uWSGI are understood.
fn command(vassal: &mut Vassal, value: &str) {
    let words = words::split(value);
    let program = |wanted: &str| {
        words
            .iter()
            .position(|word| word.rsplit('/').next() == Some(wanted))
    };
    vassal.comment(&format!("command = {value}"));
    if program("gunicorn").is_some() {
        if let Some(home) = words
            .first()
            .and_then(|word| word.strip_suffix("/bin/gunicorn"))
        {
            vassal.option("home", home, "gunicorn's virtual environment");
        }
        return gunicorn::add_command(vassal, &words);
    }
    let Some(at) = program("uwsgi").or_else(|| program("ruwsgi")) else {
        return vassal.option(
            "attach-daemon",
            value,
            "this is no server of Python applications",
        );
    };
    for typed in flags::read(words.get(at + 1..).unwrap_or_default()) {
        match typed {
            Typed::Flag(name, value) => vassal.option(name, &value, &format!("--{name}")),
            Typed::File(file) => vassal.raw(&format!("include = {file}")),
            Typed::Mistake(fault) => vassal.comment(&fault.what),
        }
    }
}

/// `A="1",B='2'` as variables.
fn environment(vassal: &mut Vassal, value: &str) {
    // between commas that are in no quotes, as in a Python list
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

/// supervisor's sizes: 20MB, 1GB, 500KB.
fn bytes(text: &str) -> Option<u64> {
    let upper = text.to_ascii_uppercase();
    let units = [("KB", 1 << 10), ("MB", 1 << 20), ("GB", 1 << 30)];
    let unit = units
        .iter()
        .find_map(|(unit, size)| Some((upper.strip_suffix(unit)?, *size)));
    let (digits, size) = unit.unwrap_or((&upper, 1));
    digits.trim().parse::<u64>().ok()?.checked_mul(size)
}
