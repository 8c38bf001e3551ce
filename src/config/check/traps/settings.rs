//! Likely mistakes in the options: options without effect, open sockets, secrets.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::config::finding::{Fault, Finding, Place};
use crate::config::values::choice::Wire;

use super::survey::Survey;

/// Options that have an effect only with `cheaper`.
const CHEAPER_OPTIONS: [&str; 15] = [
    "cheaper-algo",
    "cheaper-initial",
    "cheaper-step",
    "cheaper-overload",
    "cheaper-busyness-max",
    "cheaper-busyness-min",
    "cheaper-busyness-multiplier",
    "cheaper-busyness-penalty",
    "cheaper-busyness-backlog-alert",
    "cheaper-busyness-backlog-step",
    "cheaper-busyness-backlog-multiplier",
    "cheaper-busyness-backlog-nonzero",
    "cheaper-busyness-verbose",
    "cheaper-rss-limit-soft",
    "cheaper-rss-limit-hard",
];

impl Survey<'_> {
    pub(super) fn check_application_and_socket(&mut self, has_socket: bool) {
        let config = self.config;
        let (application, socket) = (config.has_application(), has_socket || config.has_socket());
        if config.pyrun().is_some() {
            return;
        }
        if !config.emperor().is_empty() {
            return self.emperor();
        }
        if !application && !socket && config.works_without_socket() {
            return;
        }
        if !application && config.need_app() {
            self.error(
                "module",
                "the configuration has no application",
                "set module, wsgi-file or mount",
            );
        } else if !application {
            self.warn(
                "need-app",
                "the configuration has no application, so every request gets an error",
                "set module, wsgi-file or mount",
            );
        }
        if !socket {
            self.error(
                "socket",
                "the configuration has no socket",
                "set socket = 127.0.0.1:8001 for nginx (uwsgi_pass), or http-socket = 127.0.0.1:8000; for a socket unit of systemd write socket = fd://3",
            );
        }
    }

    /// Checks that an emperor has no application and no socket, and that its directories exist.
    fn emperor(&mut self) {
        if self.config.has_application() || self.config.has_socket() {
            self.error(
                "emperor",
                "an emperor serves no application itself",
                "move the sockets and the application to a vassal's file",
            );
        }
        for source in self.config.emperor() {
            let directory = source.strip_prefix("dir://").unwrap_or(source);
            let is_path = !directory.contains("://") && !directory.contains(['*', '?', '[', ':']);
            if is_path && !self.invocation.cwd.join(directory).exists() {
                self.warn(
                    "emperor",
                    format!("there is no directory {directory}"),
                    "create it; its vassals are started then",
                );
            }
        }
    }

    pub(super) fn two_applications(&mut self) {
        let config = self.config;
        if config.module().is_some() && config.wsgi_file().is_some() {
            self.warn(
                "wsgi-file",
                "module and wsgi-file are both set; module has priority",
                "remove one of them",
            );
        }
        if config.callable().is_some() && config.module().is_some_and(|module| module.contains(':'))
        {
            self.warn(
                "callable",
                "module already names a callable",
                "remove callable",
            );
        }
        if let (Some(_), Some(_)) = (config.home(), config.python()) {
            self.warn(
                "python",
                "python and home are both set; python runs the application",
                "remove python to use the virtual environment",
            );
        }
    }

    pub(super) fn open_sockets(&mut self) {
        let config = self.config;
        let public = config.socket().iter().find(|address| address.is_public());
        if let Some(address) = public.filter(|_| config.protocol() == Wire::Uwsgi) {
            let beside = if config.http().is_empty() {
                ""
            } else {
                " beside http"
            };
            let what = format!(
                "socket = {address}{beside} accepts the uwsgi protocol from every host that reaches it, without nginx and with any REMOTE_USER"
            );
            self.warn(
                "socket",
                what,
                "put 127.0.0.1 before the port, or use a Unix socket",
            );
        }
        if config.chmod_socket().is_some_and(|mode| mode & 0o002 != 0) {
            self.warn(
                "chmod-socket",
                "every user of this machine can send requests to the socket",
                "set chmod-socket = 660 and chown-socket = :group with the group of nginx",
            );
        }
        if config.die_on_term() == Some(false) {
            self.warn(
                "die-on-term",
                "SIGTERM reloads the instance instead of stopping it, so systemd cannot stop it",
                "remove it, or set KillSignal=SIGINT in the unit",
            );
        }
    }

    pub(super) fn groups(&mut self) {
        const OPTIONS: [&str; 3] = ["cgroup-memory-max", "cgroup-cpu-max", "cgroup-pids-max"];
        let given = OPTIONS
            .into_iter()
            .find(|option| self.place(option).is_some());
        if let Some(option) = given.filter(|_| self.config.emperor().is_empty()) {
            self.warn(
                option,
                format!("{option} applies only to a vassal whose emperor sets limits too"),
                "limit other instances by MemoryMax=, CPUQuota= and TasksMax= of the systemd unit (ruwsgi@.service)",
            );
        }
    }

    pub(super) fn threads(&mut self) {
        let (threads, processes) = (self.config.threads(), self.config.processes());
        if processes == 1 && threads > 16 {
            self.warn(
                "threads",
                format!("{threads} threads share one interpreter, which runs one thread at a time"),
                "increase processes instead",
            );
        }
        let monkey = self
            .config
            .pyimport()
            .iter()
            .find(|module| module.contains("gevent") || module.contains("eventlet"));
        if let Some(module) = monkey.filter(|_| threads > 1) {
            self.warn(
                "threads",
                format!("{module} replaces threads by green threads"),
                "set threads = 1",
            );
        }
    }

    pub(super) fn check_cheaper_and_idle(&mut self) {
        let belongs = |name: &&&str| {
            self.config
                .entries
                .iter()
                .any(|(given, ..)| given == **name)
        };
        if self.config.cheaper().unwrap_or_default() == 0
            && let Some(name) = CHEAPER_OPTIONS.iter().find(belongs)
        {
            self.warn(
                name,
                format!("{name} has no effect without cheaper"),
                "set cheaper to the minimum number of workers, less than processes",
            );
        }
        let limit = self.config.idle().unwrap_or_default();
        if self.config.die_on_idle() && limit.is_zero() {
            self.warn(
                "die-on-idle",
                "die-on-idle has no effect without idle",
                "set idle to the number of seconds without a request",
            );
        }
    }

    pub(super) fn secrets(&mut self) {
        const SECRET_WORDS: &[&str] = &[
            "SECRET",
            "PASSWORD",
            "PASSWD",
            "TOKEN",
            "PRIVATE_KEY",
            "API_KEY",
            "DATABASE_URL",
            "CREDENTIAL",
        ];
        for (name, value, place) in &self.config.entries {
            let Some((variable, secret)) = value.split_once('=').filter(|_| name == "env") else {
                continue;
            };
            let is_secret = SECRET_WORDS
                .iter()
                .any(|part| variable.to_ascii_uppercase().contains(part))
                && !secret.trim().is_empty();
            let Some(file) = place.as_ref().and_then(Place::file).filter(|_| is_secret) else {
                continue;
            };
            let mode = fs::metadata(self.invocation.cwd.join(file))
                .map_or(0, |metadata| metadata.permissions().mode());
            if mode & 0o004 != 0 {
                let fault = Fault::new(format!(
                    "{} looks like a secret, and every user can read {file}",
                    variable.trim()
                ))
                .hint(format!("chmod o-r {file}"));
                self.found.push(Finding::warning(place.clone(), fault));
            }
        }
    }

    pub(super) fn check_daemonize_and_root(&mut self) {
        let config = self.config;
        for (option, file) in [
            ("daemonize", config.daemonize()),
            ("daemonize2", config.daemonize2()),
        ] {
            if let Some(word) = file.filter(|file| matches!(*file, "true" | "1" | "yes" | "on")) {
                self.warn(
                    option,
                    format!("{option} takes a file name: the log goes to the file {word}"),
                    format!("set {option} = /var/log/site.log"),
                );
            }
        }
        if self.invocation.host.uid == 0
            && config.uid().is_none()
            && config.name() != "ruwsgi"
            && self.place("uid").is_none()
        {
            let first = config
                .entries
                .iter()
                .find_map(|(_, _, place)| place.clone().filter(|place| place.file().is_some()));
            let fault = Fault::new("the application runs as root if root starts the instance")
                .hint("set uid and gid");
            self.found.push(Finding::warning(first, fault));
        }
    }
}
