//! Conversion of gunicorn's settings to options.

use super::python::{self, Literal};
use super::vassal::Vassal;
use super::words;

/// Converts a gunicorn.conf.py.
pub(super) fn from_file(text: &str) -> String {
    let mut vassal = Vassal::new(
        "from a configuration file of gunicorn; gunicorn serves HTTP, as http-socket does",
    );
    for (name, value) in python::assignments(text) {
        match value {
            Literal::Word(word) => setting(&mut vassal, &name, &word),
            Literal::List(items) => items
                .iter()
                .for_each(|item| setting(&mut vassal, &name, item)),
            Literal::Other(expression) => calculated(&mut vassal, &name, &expression),
        }
    }
    vassal.finish()
}

/// Converts a command line, with or without the name of the program.
pub(super) fn from_command(text: &str) -> String {
    let mut vassal =
        Vassal::new("from a command line of gunicorn; gunicorn serves HTTP, as http-socket does");
    add_command(&mut vassal, &words::split(text));
    vassal.finish()
}

/// Adds the options of a command line.
pub(super) fn add_command(vassal: &mut Vassal, words: &[String]) {
    let start = words
        .iter()
        .position(|word| word.rsplit('/').next() == Some("gunicorn"))
        .map_or(0, |at| at + 1);
    let mut rest = words.get(start..).unwrap_or_default().iter();
    while let Some(word) = rest.next() {
        let (flag, mut value) = match word.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        if !flag.starts_with('-') {
            setting(vassal, "wsgi_app", flag);
            continue;
        }
        let (name, attached) = name_of_flag(flag);
        value = value.or(attached);
        if SWITCHES.contains(&name.as_str()) {
            setting(vassal, &name, "True");
            continue;
        }
        match value.or_else(|| rest.next().cloned()) {
            Some(value) => setting(vassal, &name, &value),
            None => vassal.comment(&format!("{flag} has no value")),
        }
    }
}

const SWITCHES: &[&str] = &[
    "daemon",
    "preload",
    "preload_app",
    "reload",
    "capture_output",
    "check_config",
    "initgroups",
    "spew",
    "print_config",
    "disable_redirect_access_to_syslog",
    "no_sendfile",
    "reuse_port",
    "proxy_protocol",
    "enable_stdio_inheritance",
    "strip_header_spaces",
];

/// The setting of a flag, and the value that is attached to a short flag.
fn name_of_flag(flag: &str) -> (String, Option<String>) {
    if let Some(long) = flag.strip_prefix("--") {
        return (long.replace('-', "_"), None);
    }
    let mut chars = flag.chars().skip(1);
    let name = match chars.next() {
        Some('b') => "bind",
        Some('w') => "workers",
        Some('k') => "worker_class",
        Some('t') => "timeout",
        Some('u') => "user",
        Some('g') => "group",
        Some('D') => "daemon",
        Some('p') => "pidfile",
        Some('c') => "config",
        Some('e') => "env",
        Some('n') => "name",
        Some('m') => "umask",
        Some('R') => "enable_stdio_inheritance",
        _ => return (flag.to_owned(), None),
    };
    let attached: String = chars.collect();
    (
        name.to_owned(),
        Some(attached).filter(|attached| !attached.is_empty()),
    )
}

/// Adds the option of a setting.
fn setting(vassal: &mut Vassal, name: &str, value: &str) {
    if value == "None" || value.is_empty() {
        return;
    }
    let from = format!("{name} = {value}");
    let on = value == "True";
    let off = value == "False";
    match name {
        "wsgi_app" => vassal.option("module", value, &from),
        "bind" => vassal.option(
            "http-socket",
            value
                .trim_start_matches("unix://")
                .trim_start_matches("unix:"),
            &from,
        ),
        "env" | "raw_env" => vassal.option("env", value, &from),
        "pythonpath" => value
            .rsplit(',')
            .for_each(|path| vassal.option("pythonpath", path, &from)),
        "errorlog" | "error_logfile" | "log_file" if value != "-" => {
            vassal.option("logto", value, &from)
        }
        "accesslog" | "access_logfile" if value != "-" => vassal.comment(&format!(
            "{from}: request lines are written to the same log"
        )),
        "errorlog" | "error_logfile" | "log_file" | "accesslog" | "access_logfile" => {
            vassal.comment(&format!("{from}: the log goes to standard error"))
        }
        "daemon" if on => {
            vassal.comment(&format!("{from}: write daemonize = FILE, or use systemd"))
        }
        "reload" if on => vassal.option("py-autoreload", "1", &from),
        "preload" | "preload_app" => vassal.comment(&format!(
            "{from}: the application is always loaded before the workers are forked"
        )),
        "umask" => vassal.option("umask", value.trim_start_matches("0o"), &from),
        "worker_class" => worker_class(vassal, value, &from),
        "name" | "proc_name" | "default_proc_name" => {
            vassal.option("procname-prefix-spaced", value, &from)
        }
        "reuse_port" | "initgroups" | "daemon" | "reload" if off => {}
        name => match SAME.iter().find(|(theirs, _)| *theirs == name) {
            Some((_, option)) => vassal.option(option, value, &from),
            None => vassal.comment(&format!("{from}: no corresponding option{}", advice(name))),
        },
    }
}

/// Settings that correspond to an option.
const SAME: &[(&str, &str)] = &[
    ("workers", "processes"),
    ("threads", "threads"),
    ("timeout", "harakiri"),
    ("graceful_timeout", "worker-reload-mercy"),
    ("keep_alive", "http-keepalive"),
    ("keepalive", "http-keepalive"),
    ("max_requests", "max-requests"),
    ("max_requests_jitter", "max-requests-delta"),
    ("user", "uid"),
    ("group", "gid"),
    ("chdir", "chdir"),
    ("pid", "pidfile"),
    ("pidfile", "pidfile"),
    ("backlog", "listen"),
    ("reuse_port", "reuse-port"),
    ("limit_request_line", "buffer-size"),
    ("certfile", "https"),
    ("keyfile", "https"),
    ("proxy_protocol", "http-enable-proxy-protocol"),
    ("access_log_format", "log-format"),
    ("access_logformat", "log-format"),
];

fn worker_class(vassal: &mut Vassal, value: &str, from: &str) {
    match value {
        "sync" | "gthread" => vassal.comment(&format!(
            "{from}: set threads for more than one request at a time in a worker"
        )),
        _ => vassal.comment(&format!(
            "{from}: requests are served by threads; set threads"
        )),
    }
}

fn advice(name: &str) -> &'static str {
    match name {
        "forwarded_allow_ips" | "secure_scheme_headers" | "proxy_allow_ips" => {
            "; let nginx set HTTPS and REMOTE_ADDR"
        }
        "loglevel" | "log_level" | "capture_output" => {
            "; standard error of the application goes to the log"
        }
        "config" => "; migrate this file too",
        "worker_tmp_dir" | "tmp_upload_dir" => "; workers need no such files",
        "on_starting" | "post_fork" | "pre_fork" | "when_ready" | "worker_exit" => {
            "; the uwsgi module has its own hooks"
        }
        _ => "",
    }
}

/// Adds a setting whose value is an expression: the usual formulas of `workers` can be expressed in an ini file.
fn calculated(vassal: &mut Vassal, name: &str, expression: &str) {
    let plain: String = expression
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '(' | ')'))
        .collect();
    let cpus = ["multiprocessing.cpu_count", "os.cpu_count", "cpu_count"]
        .iter()
        .find(|function| plain.contains(**function));
    if let Some(function) = cpus.filter(|_| name == "workers") {
        let factor = match plain.replace(function, "N").as_str() {
            "N" => Some("%(cpus)"),
            "N*2" | "2*N" => Some("%(cpus * 2)"),
            "N*2+1" | "2*N+1" | "1+2*N" => Some("%(cpus * 2 + 1)"),
            "N+1" => Some("%(cpus + 1)"),
            _ => None,
        };
        if let Some(factor) = factor {
            vassal.comment(&format!("{name} = {expression}"));
            vassal.raw("cpus = %k");
            return vassal.raw(&format!("processes = {factor}"));
        }
    }
    vassal.comment(&format!(
        "{name} = {expression}: the value is calculated; write the result"
    ));
}
