//! Checks the surroundings of a configuration: directories, virtual environments, users, groups and access to sockets.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::survey::Survey;
use crate::config::values::accounts::{self, Account};
use crate::config::values::address::Address;
use crate::config::values::logging::FileOwner;
use crate::sys::user::{self, DropError};

/// Names of users or groups, each with its option.
type Accounts = Vec<(&'static str, String)>;

impl Survey<'_> {
    /// Checks that `chdir`, the files of the applications and the virtual environment exist. Also checks the Python
    /// version of the virtual environment.
    pub(crate) fn environment(&mut self) {
        let config = self.config;
        if let Some(chdir) = config.chdir().filter(|_| !self.path("").is_dir()) {
            self.error(
                "chdir",
                format!("{chdir} is not a directory on this machine"),
                "create it, or correct the path",
            );
        }
        self.application_files();
        let Some(home) = config.home() else { return };
        let path = self.path(home);
        if !path.is_dir() {
            return self.error(
                "home",
                format!("the virtual environment {home} does not exist"),
                format!("create it: python3 -m venv {home}"),
            );
        }
        if !path.join("bin/python").exists() {
            return self.error(
                "home",
                format!("{home}/bin/python is missing or a broken link"),
                format!("recreate it: python3 -m venv --clear {home}"),
            );
        }
        let version = venv_version(&path);
        let target = fs::canonicalize(path.join("bin/python")).unwrap_or_default();
        let runs = version_in_name(&target);
        if let (Some((major, minor)), Some(_)) = (version, runs)
            && version != runs
        {
            let what = format!(
                "the virtual environment is for Python {major}.{minor}, but its bin/python is {}, which does not find the packages",
                target.display()
            );
            let hint = format!("recreate it: python3 -m venv --clear {home}");
            return self.warn("home", what, hint);
        }
        if let Some((major, minor)) = version.filter(|version| *version < (3, 10)) {
            self.error("home", format!("the virtual environment is for Python {major}.{minor}; the minimum version is 3.10"), "recreate it with a newer Python");
        }
    }

    /// Checks that the files of the applications exist.
    fn application_files(&mut self) {
        let config = self.config;
        let is_file =
            |app: &&str| app.ends_with(".py") || (app.ends_with(".wsgi") && app.contains('/'));
        let mounted = config.mount().iter().map(|(_, app)| app.as_str());
        let files = mounted.filter(is_file).map(|app| ("mount", app));
        let single = config.wsgi_file().map(|file| ("wsgi-file", file));
        for (option, file) in single.into_iter().chain(files) {
            if !self.path(file).is_file() {
                self.error(
                    option,
                    format!("the file {file} does not exist"),
                    "correct the path; it is relative to chdir",
                );
            }
        }
    }

    /// Checks that the users and groups in the options exist.
    pub(crate) fn accounts(&mut self) {
        let (users, groups) = self.named_accounts();
        for (option, user) in users {
            if matches!(user::find_user(&user), Err(DropError::NoUser(_))) {
                let hint = format!("create it: useradd --system {user}, or correct the name");
                self.error(option, format!("there is no user {user}"), hint);
            }
        }
        for (option, group) in groups {
            if matches!(user::find_group(&group), Err(DropError::NoGroup(_))) {
                let hint = format!("create it: groupadd --system {group}, or correct the name");
                self.error(option, format!("there is no group {group}"), hint);
            }
        }
    }

    /// The users and the groups in the options.
    fn named_accounts(&self) -> (Accounts, Accounts) {
        let config = self.config;
        let mut users = Accounts::new();
        let mut groups = Accounts::new();
        let mut add = |option, user: Option<&str>, group: Option<&str>| {
            users.extend(user.map(|user| (option, user.to_owned())));
            groups.extend(group.map(|group| (option, group.to_owned())));
        };
        add("uid", config.uid(), None);
        add("gid", None, config.gid());
        for group in config.add_gid() {
            add("add-gid", None, Some(group));
        }
        if let Some(owner) = config.chown_socket() {
            add(
                "chown-socket",
                owner.user.as_deref(),
                owner.group.as_deref(),
            );
        }
        if let Some(FileOwner::Named(owner)) = config.logfile_chown() {
            add(
                "logfile-chown",
                owner.user.as_deref(),
                owner.group.as_deref(),
            );
        }
        for companion in config.attach_daemon2() {
            let (user, group) = (companion.uid.as_deref(), companion.gid.as_deref());
            add("attach-daemon2", user, group);
        }
        (users, groups)
    }

    pub(crate) fn socket_permissions(&mut self) {
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
            let what = format!("the socket's directory {shown} does not exist");
            let hint = format!("create {shown}, or use RuntimeDirectory= of systemd");
            // systemd creates directories below /run when it starts the service
            return match directory.starts_with("/run") || directory.starts_with("/var/run") {
                true => self.warn("socket", what, hint),
                false => self.error("socket", what, hint),
            };
        };
        // the socket is bound before privileges are dropped; only `vacuum` needs this permission, to remove the socket
        // at the end
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
                "{} cannot write to {shown}, so the socket is not removed when the instance stops",
                user.name
            );
            self.warn(
                "uid",
                what,
                format!(
                    "put the socket in a directory of {}, for example by RuntimeDirectory= of systemd",
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
                "nginx runs as {}, which has no search permission on {}, so it cannot connect to the socket",
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
                "nginx runs as {}, which has no write permission on the socket {}",
                nginx.name,
                socket.display()
            );
            self.warn(
                "socket",
                what,
                format!("set chmod-socket = 660 and chown-socket = :{}", nginx.name),
            );
        }
    }
}

/// The version in the name of an interpreter: 3 and 12 for `python3.12`.
fn version_in_name(interpreter: &Path) -> Option<(u32, u32)> {
    let name = interpreter.file_name()?.to_str()?;
    let (major, minor) = name.strip_prefix("python")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The Python version in the pyvenv.cfg of a virtual environment.
fn venv_version(home: &Path) -> Option<(u32, u32)> {
    let text = fs::read_to_string(home.join("pyvenv.cfg")).ok()?;
    let version = text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        matches!(name.trim(), "version" | "version_info").then(|| value.trim().to_owned())
    })?;
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}
