//! Converts the programs of a supervisor configuration to ini files of vassals.

use ini::{Ini, ParseOption};

use super::gunicorn;
use super::python::{self, Literal};
use super::vassal::{Migrated, Vassal, one_line};
use super::words;
use crate::config::read::flags::{self, Typed};

/// Converts a supervisor configuration to one file for each program that serves a WSGI application. The other programs
/// become services. If exactly one program serves a WSGI application and has the same user, its file gets the services.
/// Otherwise the services get a file of their own, without an application.
pub(super) fn from_file(text: &str) -> Vec<Migrated> {
    let programs = match programs(text) {
        Ok(programs) => programs,
        Err(error) => {
            let reason = one_line(&error.to_string());
            return vec![Migrated::only(format!(
                "# the file is not valid: {reason}\n"
            ))];
        }
    };
    if programs.is_empty() {
        let text = "# the file has no section [program:...]\n".to_owned();
        return vec![Migrated::only(text)];
    }
    let (web, others): (Vec<_>, Vec<_>) = programs.iter().partition(|it| serves_wsgi(&it.1));
    let user = |it: &Program| value(&it.1, "user").map(str::to_owned);
    let (beside, apart): (Vec<_>, Vec<_>) = match web[..] {
        [only] => others.into_iter().partition(|it| user(it) == user(only)),
        _ => (Vec::new(), others),
    };
    let mut files: Vec<Migrated> = web
        .iter()
        .map(|it| file(it.0.clone(), program(it), &beside))
        .collect();
    let mut users: Vec<Option<String>> = apart.iter().map(|it| user(it)).collect();
    users.dedup();
    for owner in users {
        let all: Vec<_> = apart.iter().filter(|it| user(it) == owner).collect();
        files.push(match all[..] {
            [only] => file(only.0.clone(), program(only), &[]),
            _ => services_of(owner, &all, &files),
        });
    }
    files
}

type Program = (String, Settings);

/// The last value of a setting.
fn value<'a>(settings: &'a Settings, name: &str) -> Option<&'a str> {
    let mut values = settings.iter().rev().filter(|(known, _)| known == name);
    values.next().map(|(_, value)| value.as_str())
}

/// Whether the command of a program serves a WSGI application: gunicorn with such a worker class, uWSGI or ruwsgi.
fn serves_wsgi(settings: &Settings) -> bool {
    let command = value(settings, "command").unwrap_or_default();
    let words = words::split(command);
    let runs = |name: &str| {
        words
            .iter()
            .any(|word| word.rsplit('/').next() == Some(name))
    };
    match runs("gunicorn") {
        true => gunicorn::serves_wsgi(command),
        false => runs("uwsgi") || runs("ruwsgi"),
    }
}

/// Creates a file with the options of `vassal`, followed by the services.
fn file(name: String, mut vassal: Vassal, services: &[&Program]) -> Migrated {
    for (name, settings) in services {
        service(&mut vassal, name, settings);
    }
    let text = vassal.finish();
    Migrated { name, text }
}

/// A file without an application, for the programs of one user.
fn services_of(user: Option<String>, programs: &[&&Program], files: &[Migrated]) -> Migrated {
    let mut name = "services".to_owned();
    if files.iter().any(|file| file.name == name) {
        name.push_str(&format!("-{}", user.as_deref().unwrap_or("root")));
    }
    let about = format!("{name}.ini, from supervisor's programs that serve no WSGI application");
    let mut vassal = Vassal::new(&about);
    if let Some(user) = user {
        vassal.option("uid", &user, &format!("user = {user}"));
    }
    let programs: Vec<&Program> = programs.iter().map(|it| **it).collect();
    file(name, vassal, &programs)
}

/// Adds a program as `attach-daemon2`, as often as `numprocs` says.
fn service(vassal: &mut Vassal, name: &str, settings: &Settings) {
    const MAX: u32 = 64;
    const IN_KEYS: [&str; 8] = [
        "command",
        "directory",
        "environment",
        "numprocs",
        "process_name",
        "stopsignal",
        "stopwaitsecs",
        "user",
    ];
    vassal.comment(&format!("supervisor's [program:{name}]"));
    for (setting_name, value) in settings {
        if !IN_KEYS.contains(&setting_name.as_str()) {
            vassal.comment(&format!(
                "{setting_name} = {value}: {}",
                without_option(setting_name)
            ));
        }
    }
    let is_started = value(settings, "autostart") != Some("false");
    let count = value(settings, "numprocs").and_then(|count| count.trim().parse().ok());
    for number in 0..count.unwrap_or(1).min(MAX) {
        let expanded = |text: &str| {
            text.replace("%(program_name)s", name)
                .replace("%(process_num)s", &number.to_string())
                .replace("%(process_num)d", &number.to_string())
                .replace("%(process_num)02d", &format!("{number:02}"))
                .replace("%%", "%")
        };
        let line =
            format!("attach-daemon2 = {}", keys(name, settings, expanded)).replace('%', "%%");
        match is_started {
            true => vassal.raw(&line),
            false => vassal.comment(&line),
        }
    }
}

/// The keys of `attach-daemon2` for a program.
fn keys(name: &str, settings: &Settings, expanded: impl Fn(&str) -> String) -> String {
    let value = |name: &str| value(settings, name).map(&expanded);
    let variables = value("environment").map(|listed| variables(&listed));
    let command = value("command").unwrap_or_default();
    let command = match variables.filter(|variables| !variables.is_empty()) {
        None => command,
        Some(variables) => {
            let assigned = variables
                .iter()
                .map(|(name, value)| format!("{name}='{}' ", value.replace('\'', r"'\''")));
            format!("exec env {}{command}", assigned.collect::<String>())
        }
    };
    let pairs = [
        ("cmd", Some(command)),
        (
            "name",
            Some(value("process_name").unwrap_or_else(|| name.to_owned())),
        ),
        ("chdir", value("directory")),
        ("stopsignal", value("stopsignal")),
        ("mercy", value("stopwaitsecs")),
    ];
    let pairs = pairs
        .iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?.replace(',', "\\,"))));
    pairs.collect::<Vec<_>>().join(",")
}

/// The reason why a setting of a service has no key.
fn without_option(name: &str) -> &'static str {
    match name {
        "autostart" | "autorestart" | "startsecs" | "startretries" => {
            "a service starts with the instance, and restart delays grow"
        }
        "stdout_logfile"
        | "stderr_logfile"
        | "stdout_logfile_maxbytes"
        | "stdout_logfile_backups" => "the output goes to the log of the instance",
        "redirect_stderr" | "stopasgroup" | "killasgroup" | "priority" => "not needed",
        _ => "no corresponding key",
    }
}

type Settings = Vec<(String, String)>;

/// Reads the programs of a file and their settings.
///
/// In supervisor's parser, `;` after a blank begins a comment, and an indented line continues the previous line.
/// `logical_lines` resolves both before the text is read as ini.
fn programs(text: &str) -> Result<Vec<Program>, ini::ParseError> {
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

/// Starts the file of a program with the options of its settings. The caller adds the services.
fn program((name, settings): &Program) -> Vassal {
    let mut vassal = Vassal::new(&format!("{name}.ini, from supervisor's [program:{name}]"));
    for (setting_name, value) in settings {
        // %(program_name)s is a placeholder of supervisor
        let value = value.replace("%(program_name)s", name).replace("%%", "%");
        setting(&mut vassal, setting_name, &value);
    }
    vassal
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
    for (name, value) in variables(value) {
        vassal.option("env", &format!("{name}={value}"), "environment");
    }
}

/// The names and values of a list such as `A="1",B='2'`.
fn variables(value: &str) -> Vec<(String, String)> {
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
    let pairs = listed.iter().filter_map(|pair| pair.split_once('='));
    let variables = pairs.map(|(name, value)| {
        let value = match python::assignments(&format!("v = {}", value.trim())).pop() {
            Some((_, Literal::Word(word))) => word,
            _ => value.trim().to_owned(),
        };
        (name.trim().to_owned(), value)
    });
    variables.collect()
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
