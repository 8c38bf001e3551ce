//! Converts gunicorn's settings to options.

use super::python::{self, Literal};
use super::vassal::Vassal;
use super::words;

/// The names and values of gunicorn's settings, in order. If a name is repeated, the last value wins.
type Settings = Vec<(String, Literal)>;

const SOURCE: &str = "of gunicorn; gunicorn serves HTTP, as http-socket does";

/// Converts the text of a gunicorn.conf.py to an ini file. `file` is its path, for a command that reads it.
pub(super) fn from_file(file: &str, text: &str) -> String {
    let mut vassal = Vassal::new(&format!("from a configuration file {SOURCE}"));
    let settings = python::assignments(text);
    let command = match last(&settings, &["wsgi_app"]) {
        Some(_) => Command::Complete(format!("gunicorn -c {file}")),
        None => Command::WithoutApplication(format!("gunicorn -c {file} MODULE:APP")),
    };
    emit(&mut vassal, &settings, &command);
    vassal.finish()
}

/// A command that runs gunicorn itself, for worker classes that serve no WSGI application.
enum Command {
    Complete(String),
    /// The name of the application is missing in the settings.
    WithoutApplication(String),
}

/// Converts a command line of gunicorn to an ini file. The name of the program may be missing.
pub(super) fn from_command(text: &str) -> String {
    let mut vassal = Vassal::new(&format!("from a command line {SOURCE}"));
    add_command(&mut vassal, text);
    vassal.finish()
}

/// Adds the options of a gunicorn command line, and `home` for the virtual environment of the program.
pub(super) fn add_command(vassal: &mut Vassal, text: &str) {
    let words = words::split(text);
    if let Some(home) = words.first().and_then(|word| home_of(word)) {
        vassal.option("home", home, "the virtual environment of the command");
    }
    emit(
        vassal,
        &settings(&words),
        &Command::Complete(text.to_owned()),
    );
}

/// The virtual environment that has a program: `/srv/venv` for `/srv/venv/bin/gunicorn`; `None` for
/// `/usr/bin/gunicorn`.
fn home_of(program: &str) -> Option<&str> {
    let (home, _) = program.rsplit_once("/bin/")?;
    (!["", "/usr", "/usr/local"].contains(&home)).then_some(home)
}

/// Parses the words of a command line. The words up to `gunicorn` are skipped.
fn settings(words: &[String]) -> Settings {
    let mut settings = Vec::new();
    let mut add = |name: &str, value: String| {
        settings.push((name.to_owned(), Literal::Word(value)));
    };
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
            add("wsgi_app", flag.to_owned());
            continue;
        }
        let (name, attached) = name_of_flag(flag);
        value = value.or(attached);
        if SWITCHES.contains(&name.as_str()) {
            add(&name, "True".to_owned());
        } else if let Some(value) = value.or_else(|| rest.next().cloned()) {
            add(&name, value);
        }
    }
    settings
}

/// The value of the last setting whose name is in `names`; `None` if the value is missing, empty or Python's None.
fn last<'a>(settings: &'a Settings, names: &[&str]) -> Option<&'a str> {
    let mut words = settings
        .iter()
        .rev()
        .filter_map(|(name, value)| match value {
            Literal::Word(word) if names.contains(&name.as_str()) => Some(word.as_str()),
            _ => None,
        });
    words
        .next()
        .filter(|word| !word.is_empty() && *word != "None")
}

/// Adds the options of all settings. If the worker class serves no WSGI application, only adds `attach-daemon` with the
/// command line `command`.
fn emit(vassal: &mut Vassal, settings: &Settings, command: &Command) {
    let class = last(settings, &["worker_class"]).unwrap_or("sync");
    if !WSGI_CLASSES.contains(&class) {
        vassal.comment(&format!(
            "worker_class = {class} serves no WSGI application, so gunicorn runs as it is, beside no application"
        ));
        return run_gunicorn(vassal, settings, command);
    }
    for (name, value) in settings {
        let is_request_timeout = class == "sync" || name != "timeout";
        match value {
            Literal::Word(_) if !is_request_timeout => vassal.comment(&format!(
                "timeout: with {class} it does not limit a request; harakiri does"
            )),
            Literal::Word(word) => setting(vassal, name, word),
            Literal::List(items) => items.iter().for_each(|item| setting(vassal, name, item)),
            Literal::Other(expression) => calculated(vassal, name, expression),
        }
    }
    if ["gevent", "eventlet"]
        .iter()
        .any(|green| class.starts_with(green))
        && !vassal.has("threads")
    {
        vassal.option("threads", "32", "green threads become threads");
    }
    sockets(vassal, settings);
    logs(vassal, settings);
}

/// The worker classes that serve WSGI applications.
const WSGI_CLASSES: [&str; 6] = [
    "sync",
    "gthread",
    "gevent",
    "eventlet",
    "gevent_wsgi",
    "gevent_pywsgi",
];

/// Whether a command line of gunicorn serves a WSGI application.
pub(super) fn serves_wsgi(text: &str) -> bool {
    let settings = settings(&words::split(text));
    last(&settings, &["worker_class"]).is_none_or(|class| WSGI_CLASSES.contains(&class))
}

/// Adds the service that runs gunicorn itself.
fn run_gunicorn(vassal: &mut Vassal, settings: &Settings, command: &Command) {
    if last(settings, &["daemon"]) == Some("True") {
        vassal.comment("remove daemon = True: a service stays in the foreground");
    }
    match command {
        Command::Complete(command) => {
            vassal.raw(&format!("attach-daemon = {}", command.replace('%', "%%")));
        }
        Command::WithoutApplication(command) => {
            vassal.comment("write the name of the application, and remove the # of the next line:");
            vassal.comment(&format!("attach-daemon = {}", command.replace('%', "%%")));
        }
    }
}

/// Adds gunicorn's default address if the settings have no address. For a Unix socket, adds gunicorn's permissions.
fn sockets(vassal: &mut Vassal, settings: &Settings) {
    if !vassal.has("http-socket") {
        vassal.option("http-socket", "127.0.0.1:8000", "the default of bind");
    }
    if vassal.has("http-socket = /") || vassal.has("http-socket = .") {
        let umask = last(settings, &["umask"]).unwrap_or("0");
        let umask = u32::from_str_radix(umask.trim_start_matches("0o"), 8).unwrap_or(0);
        vassal.option(
            "chmod-socket",
            &format!("{:o}", 0o777 & !umask),
            "gunicorn's Unix sockets have mode 0777 less the umask; chmod-socket = 660 and chown-socket = :www-data are enough for nginx",
        );
    }
}

/// Adds the options of the logs. `daemonize` is added here too, because its value is the log file.
fn logs(vassal: &mut Vassal, settings: &Settings) {
    let file = |names: &[&str]| last(settings, names).filter(|file| *file != "-");
    let errors = file(&["errorlog", "error_logfile", "log_file"]);
    let access = file(&["accesslog", "access_logfile"]);
    let log = errors.or(access);
    match (last(settings, &["daemon"]), log) {
        (Some("True"), log) => {
            vassal.option("daemonize", log.unwrap_or("/dev/null"), "daemon = True")
        }
        (_, Some(log)) => vassal.option("logto", log, "errorlog, accesslog"),
        _ => {}
    }
    match access.filter(|access| Some(*access) != log) {
        Some(access) => vassal.option("req-logger", &format!("file:{access}"), "accesslog"),
        None if last(settings, &["accesslog", "access_logfile"]).is_none() => vassal.option(
            "disable-logging",
            "true",
            "gunicorn logs no requests without accesslog",
        ),
        None => {}
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

/// The name of the setting for a flag, and the value that is attached to a short flag, such as `4` in `-w4`.
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

/// Adds the option that corresponds to a setting. Without such an option, adds a comment.
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
        "errorlog" | "error_logfile" | "log_file" | "accesslog" | "access_logfile" | "daemon" => {}
        "reload" if on => vassal.option("py-autoreload", "1", &from),
        "preload" | "preload_app" => vassal.comment(&format!(
            "{from}: the application is always loaded before the workers are forked"
        )),
        "umask" => vassal.option("umask", value.trim_start_matches("0o"), &from),
        "worker_class" => worker_class(vassal, value, &from),
        "name" | "proc_name" | "default_proc_name" => {
            vassal.option("procname-prefix-spaced", value, &from)
        }
        "reuse_port" | "initgroups" | "reload" if off => {}
        name => match SAME.iter().find(|(theirs, _)| *theirs == name) {
            Some((_, option)) => vassal.option(option, value, &from),
            None => vassal.comment(&format!("{from}: no corresponding option{}", advice(name))),
        },
    }
}

/// Settings whose values are copied to an option: the name of the setting and the name of the option.
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
    ("certfile", "https"),
    ("keyfile", "https"),
    ("proxy_protocol", "http-enable-proxy-protocol"),
    ("access_log_format", "access-log-format"),
    ("access_logformat", "access-log-format"),
];

fn worker_class(vassal: &mut Vassal, value: &str, from: &str) {
    match value {
        "sync" => {}
        "gthread" => vassal.comment(&format!(
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

/// Adds a setting whose value is an expression. The usual formulas of `workers` become placeholders of the ini file.
/// Other expressions become comments.
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
