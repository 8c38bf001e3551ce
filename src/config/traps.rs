//! What is no mistake in itself and yet goes wrong: conflicts, permissions, things that are not where they are said to be.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::accounts::{self, Account};
use super::address::Address;
use super::finding::{Fault, Finding, Place};
use super::invocation::Invocation;
use super::options::{self, Config};

/// Looks for traps; every finding is a warning.
pub(super) fn find(config: &Config, invocation: &Invocation) -> Vec<Finding> {
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
    traps.secrets();
    traps.environment();
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
        if let Some(address) = public.filter(|_| config.protocol() == super::Wire::Uwsgi) {
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

    /// The directories and the interpreter.
    fn environment(&mut self) {
        let config = self.config;
        if let Some(chdir) = config
            .chdir()
            .filter(|chdir| !self.invocation.cwd.join(chdir).is_dir())
        {
            self.warn(
                "chdir",
                format!("{chdir} is no directory here"),
                "create it, or mend the path",
            );
        }
        if let Some(file) = config.wsgi_file().filter(|file| !self.path(file).is_file()) {
            self.warn(
                "wsgi-file",
                format!("there is no file {file}"),
                "mend the path; it counts from chdir",
            );
        }
        let Some(home) = config.home() else { return };
        let path = self.path(home);
        if !path.is_dir() {
            return self.warn(
                "home",
                format!("there is no virtual environment {home}"),
                format!("python3 -m venv {home}"),
            );
        }
        if !path.join("bin/python").exists() {
            return self.warn(
                "home",
                format!("{home}/bin/python is missing or leads nowhere"),
                format!("make it anew: python3 -m venv --clear {home}"),
            );
        }
        let version = venv_version(&path);
        if let Some((major, minor)) = version.filter(|version| *version < (3, 10)) {
            self.warn("home", format!("the virtual environment is of Python {major}.{minor}, and 3.10 is the oldest that works"), "make it anew with a newer Python");
        }
    }

    fn socket_permissions(&mut self) {
        let config = self.config;
        for address in config
            .socket()
            .iter()
            .chain(config.http_socket())
            .chain(config.http())
        {
            if let Address::Unix(path) = address {
                let path = self.path(&path.to_string_lossy());
                self.socket_directory(&path);
                self.nginx(&path);
            }
        }
    }

    fn socket_directory(&mut self, socket: &Path) {
        let directory = socket.parent().unwrap_or(Path::new("/"));
        let shown = directory.display();
        let Ok(metadata) = fs::metadata(directory) else {
            return self.warn(
                "socket",
                format!("the socket's directory {shown} does not exist"),
                format!("create {shown}, or use RuntimeDirectory= of systemd"),
            );
        };
        // bound before privileges are dropped, removed at the end with what is left of them
        let Some(user) = self
            .config
            .uid()
            .and_then(Account::find)
            .filter(|_| self.config.vacuum())
        else {
            return;
        };
        if !user.may(2, metadata.uid(), metadata.gid(), metadata.mode()) {
            let what = format!(
                "{} may not write to {shown}, so it cannot remove the socket at the end",
                user.name
            );
            self.warn(
                "uid",
                what,
                format!(
                    "chown {} {shown}, or choose a directory of its own",
                    user.name
                ),
            );
        }
    }

    fn nginx(&mut self, socket: &Path) {
        let Some(nginx) = accounts::nginx() else {
            return;
        };
        let config = self.config;
        let closed = socket.ancestors().skip(1).find(|directory| {
            fs::metadata(directory).is_ok_and(|metadata| {
                !nginx.may(1, metadata.uid(), metadata.gid(), metadata.mode())
            })
        });
        if let Some(directory) = closed {
            let what = format!(
                "nginx runs as {}, which cannot pass through {} to the socket",
                nginx.name,
                directory.display()
            );
            return self.warn(
                "socket",
                what,
                format!(
                    "chmod o+x {}, or put the socket below /run",
                    directory.display()
                ),
            );
        }
        let (user, group) = match config.chown_socket() {
            Some(owner) => (owner.user, owner.group),
            None => (
                config.uid().map(str::to_owned),
                config.gid().map(str::to_owned),
            ),
        };
        let host = &self.invocation.host;
        let uid = user
            .as_deref()
            .and_then(Account::find)
            .map_or(host.uid, |user| user.uid);
        let gid = group
            .as_deref()
            .and_then(accounts::gid_of)
            .unwrap_or(host.gid);
        let mode = config
            .chmod_socket()
            .unwrap_or(0o777 & !config.umask().unwrap_or(0o022));
        if !nginx.may(2, uid, gid, mode) {
            let what = format!(
                "nginx runs as {}, which may not write to the socket {}",
                nginx.name,
                socket.display()
            );
            self.warn(
                "socket",
                what,
                format!(
                    "write chmod-socket = 660 and chown-socket = :{}",
                    nginx.name
                ),
            );
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

/// The Python version in a virtual environment's pyvenv.cfg.
fn venv_version(home: &Path) -> Option<(u32, u32)> {
    let text = fs::read_to_string(home.join("pyvenv.cfg")).ok()?;
    let version = text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        matches!(name.trim(), "version" | "version_info").then(|| value.trim().to_owned())
    })?;
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
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
        let argv = ["ruwsgi", "site.ini"].map(str::to_owned).to_vec();
        let invocation = Invocation::new(argv, Vec::new(), directory.path().to_owned());
        let config = super::super::load(&invocation).unwrap();
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
