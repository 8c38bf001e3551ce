//! What is no mistake in itself and yet goes wrong: conflicts, permissions, things that are not where they are said to be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::config::finding::{Fault, Finding, Place};
use crate::config::read::invocation::Invocation;
use crate::config::table::options::{self, Config};

mod places;

/// Looks for traps; every finding is a warning.
pub(crate) fn find(config: &Config, invocation: &Invocation) -> Vec<Finding> {
    let mut traps = Traps {
        config,
        invocation,
        found: Vec::new(),
    };
    traps.nothing_to_do();
    traps.two_applications();
    traps.open_sockets();
    traps.threads();
    traps.idleness();
    traps.groups();
    traps.secrets();
    traps.environment();
    traps.accounts();
    traps.socket_permissions();
    traps.habits();
    traps.found
}

/// Options that only tell how `cheaper` works.
const CHEAPERS: [&str; 15] = [
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

struct Traps<'a> {
    config: &'a Config,
    invocation: &'a Invocation,
    found: Vec<Finding>,
}

impl Traps<'_> {
    /// Where an option was given last, under any of its names.
    fn place(&self, option: &str) -> Option<Place> {
        let row = options::find(option)?;
        let last = self
            .config
            .entries
            .iter()
            .rev()
            .find(|(name, ..)| row.names.contains(&name.as_str()));
        last.and_then(|(_, _, place)| place.clone())
    }

    fn warn(&mut self, option: &str, what: impl Into<String>, hint: impl Into<String>) {
        let place = self.place(option);
        self.found
            .push(Finding::warning(place, Fault::new(what).hint(hint)));
    }

    /// A path of the configuration, which counts from `chdir`.
    fn path(&self, path: &str) -> PathBuf {
        self.invocation
            .cwd
            .join(self.config.chdir().unwrap_or_default())
            .join(path)
    }

    fn nothing_to_do(&mut self) {
        let config = self.config;
        if config.module().is_none() && config.wsgi_file().is_none() && config.mount().is_empty() {
            self.warn(
                "module",
                "no application is named",
                "write module, wsgi-file or mount",
            );
        }
        if config.socket().is_empty() && config.http().is_empty() && config.http_socket().is_empty()
        {
            self.warn(
                "socket",
                "no socket is named, so the instance needs one from systemd",
                "write socket or http",
            );
        }
    }

    fn two_applications(&mut self) {
        let config = self.config;
        if config.module().is_some() && config.wsgi_file().is_some() {
            self.warn(
                "wsgi-file",
                "module and wsgi-file are both given, and module wins",
                "take one of them out",
            );
        }
        if config.callable().is_some() && config.module().is_some_and(|module| module.contains(':'))
        {
            self.warn(
                "callable",
                "module names a callable already",
                "take callable out",
            );
        }
        if let (Some(_), Some(_)) = (config.home(), config.python()) {
            self.warn(
                "python",
                "python and home are both given, and python runs the application",
                "take python out if the virtual environment is meant",
            );
        }
    }

    fn open_sockets(&mut self) {
        let config = self.config;
        let public = config.socket().iter().find(|address| address.is_public());
        if let Some(address) = public.filter(|_| config.protocol() == crate::config::Wire::Uwsgi) {
            let beside = if config.http().is_empty() {
                ""
            } else {
                " beside http"
            };
            let what = format!(
                "socket = {address}{beside} lets everyone who reaches it speak the uwsgi protocol, past nginx and with any user name"
            );
            self.warn(
                "socket",
                what,
                "write 127.0.0.1 in front of the port, or use a Unix socket",
            );
        }
        if config.chmod_socket().is_some_and(|mode| mode & 0o002 != 0) {
            self.warn(
                "chmod-socket",
                "every user of this machine may send requests to the socket",
                "write chmod-socket = 660 and chown-socket = :group with nginx's group",
            );
        }
        if config.die_on_term() == Some(false) {
            self.warn(
                "die-on-term",
                "SIGTERM reloads the instance instead of stopping it, so systemd cannot stop it",
                "take it out, or set KillSignal=SIGINT",
            );
        }
    }

    fn groups(&mut self) {
        const OPTIONS: [&str; 3] = ["cgroup-memory-max", "cgroup-cpu-max", "cgroup-pids-max"];
        let given = OPTIONS
            .into_iter()
            .find(|option| self.place(option).is_some());
        if let Some(option) = given.filter(|_| self.config.emperor().is_empty()) {
            self.warn(
                option,
                format!("{option} holds only for a vassal, whose emperor's own configuration limits its vassals too"),
                "limit an instance of its own by MemoryMax=, CPUQuota= and TasksMax= of its systemd unit (ruwsgi@.service)",
            );
        }
    }

    fn threads(&mut self) {
        let (threads, processes) = (self.config.threads(), self.config.processes());
        if processes == 1 && threads > 16 {
            self.warn(
                "threads",
                format!(
                    "{threads} threads share one interpreter, which runs one of them at a time"
                ),
                "raise processes instead",
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
                format!("{module} replaces threads by its own"),
                "set threads = 1",
            );
        }
    }

    fn idleness(&mut self) {
        let belongs = |name: &&&str| {
            self.config
                .entries
                .iter()
                .any(|(given, ..)| given == **name)
        };
        if self.config.cheaper().unwrap_or_default() == 0
            && let Some(name) = CHEAPERS.iter().find(belongs)
        {
            self.warn(
                name,
                format!("{name} does nothing without cheaper"),
                "set cheaper to the smallest number of workers, below processes",
            );
        }
        let limit = self.config.idle().unwrap_or_default();
        if self.config.die_on_idle() && limit.is_zero() {
            self.warn(
                "die-on-idle",
                "die-on-idle does nothing without idle",
                "set idle to the seconds without a request after which the instance ends",
            );
        }
    }

    fn secrets(&mut self) {
        const TELLING: &[&str] = &[
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
            let telling = TELLING
                .iter()
                .any(|part| variable.to_ascii_uppercase().contains(part))
                && !secret.trim().is_empty();
            let Some(file) = place.as_ref().and_then(Place::file).filter(|_| telling) else {
                continue;
            };
            let mode = fs::metadata(self.invocation.cwd.join(file))
                .map_or(0, |metadata| metadata.permissions().mode());
            if mode & 0o004 != 0 {
                let fault = Fault::new(format!(
                    "{} looks like a secret, and everyone may read {file}",
                    variable.trim()
                ))
                .hint(format!("chmod o-r {file}"));
                self.found.push(Finding::warning(place.clone(), fault));
            }
        }
    }

    fn habits(&mut self) {
        let config = self.config;
        for (option, file) in [
            ("daemonize", config.daemonize()),
            ("daemonize2", config.daemonize2()),
        ] {
            if let Some(word) = file.filter(|file| matches!(*file, "true" | "1" | "yes" | "on")) {
                self.warn(
                    option,
                    format!("the log goes to a file named {word}"),
                    format!("write {option} = /var/log/site.log"),
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
            let fault = Fault::new("started by root, the application runs as root")
                .hint("write uid and gid");
            self.found.push(Finding::warning(first, fault));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn said(content: &str) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("site.ini"), content).unwrap();
        fs::set_permissions(
            directory.path().join("site.ini"),
            fs::Permissions::from_mode(0o644),
        )
        .unwrap();
        let old = directory.path().join("old");
        fs::create_dir_all(old.join("bin")).unwrap();
        fs::write(old.join("bin/python"), "").unwrap();
        fs::write(old.join("pyvenv.cfg"), "home = /usr\nversion = 3.8.1\n").unwrap();
        let moved = directory.path().join("moved");
        fs::create_dir_all(moved.join("bin")).unwrap();
        fs::write(directory.path().join("python3.11"), "").unwrap();
        std::os::unix::fs::symlink("../../python3.11", moved.join("bin/python")).unwrap();
        fs::write(moved.join("pyvenv.cfg"), "version = 3.12.1\n").unwrap();
        let argv = ["ruwsgi", "site.ini"].map(str::to_owned).to_vec();
        let invocation = Invocation::new(argv, Vec::new(), directory.path().to_owned());
        let config = crate::config::load(&invocation).unwrap();
        find(&config, &invocation)
            .into_iter()
            .map(|finding| finding.to_string())
            .collect()
    }

    fn says(content: &str, part: &str) -> bool {
        said(content).iter().any(|finding| finding.contains(part))
    }

    #[test]
    fn traps_are_pointed_out_where_they_are_set() {
        for (content, part) in [
            (
                "socket = :8001\nhttp = :80",
                "site.ini:2: warning: socket = :8001 beside http",
            ),
            ("chmod-socket = 666", "site.ini:2: warning: every user"),
            (
                "env = SECRET_KEY=abc",
                "site.ini:2: warning: SECRET_KEY looks like a secret",
            ),
            ("home = nowhere", "no virtual environment nowhere"),
            ("home = old", "Python 3.8"),
            (
                "home = moved",
                "of Python 3.12, and its bin/python leads to",
            ),
            ("uid = nobody-of-this-name", "no user nobody-of-this-name"),
            ("chown-socket = :no-such-group", "no group no-such-group"),
            ("chdir = /nowhere", "/nowhere is no directory"),
            ("socket = /nowhere/a.sock", "does not exist"),
            ("threads = 64", "one of them at a time"),
            ("module = a:b\ncallable = b", "site.ini:3"),
            ("module = a\nwsgi-file = b.py", "module wins"),
            ("daemonize = true", "a file named true"),
            ("master = true", "no application is named"),
            ("die-on-term = false", "systemd cannot stop it"),
            ("die-on-idle = true", "does nothing without idle"),
            ("cheaper-step = 2", "does nothing without cheaper"),
        ] {
            assert!(
                says(&format!("[uwsgi]\n{content}\n"), part),
                "{content}: {:?}",
                said(&format!("[uwsgi]\n{content}\n"))
            );
        }
    }

    #[test]
    fn a_decent_file_has_no_traps() {
        assert_eq!(
            said(
                "[uwsgi]\nmodule = a\nsocket = 127.0.0.1:8001\nuid = www-data\ngid = www-data\nenv = DEBUG=1\n"
            ),
            Vec::<String>::new()
        );
    }
}
