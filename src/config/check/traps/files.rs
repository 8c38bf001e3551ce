//! Checks the files that an instance creates and reads at its start.

use std::path::{Path, PathBuf};

use super::survey::Survey;
use crate::log::{Engine, Logger};

impl Survey<'_> {
    /// Checks that `chdir2` exists, and that the directories of logs, pidfiles, locks and pipes exist.
    pub(super) fn created_files(&mut self) {
        let config = self.config;
        if config.chroot().is_some() {
            return;
        }
        for (option, path) in self.files_of_the_start() {
            self.parent_of(option, &path);
        }
        if let Some(directory) = config.chdir2().filter(|it| !self.path(it).is_dir()) {
            self.error(
                "chdir2",
                format!("{directory} is not a directory on this machine"),
                "create it, or correct the path; it is relative to chdir",
            );
        }
    }

    /// The files that the start creates, each with its option.
    fn files_of_the_start(&self) -> Vec<(&'static str, PathBuf)> {
        let config = self.config;
        // these files are opened before the change to `chdir`
        let early = [
            ("logto", config.logto()),
            ("daemonize", config.daemonize()),
            ("daemonize2", config.daemonize2()),
            ("pidfile", config.pidfile()),
            ("control-socket", config.control_socket()),
        ];
        let late = [
            ("logto2", config.logto2()),
            ("pidfile2", config.pidfile2()),
            ("safe-pidfile", config.safe_pidfile()),
            ("safe-pidfile2", config.safe_pidfile2()),
            (
                "master-fifo",
                config.master_fifo().first().map(String::as_str),
            ),
        ];
        let locks = [
            ("flock", config.flock()),
            ("flock-wait", config.flock_wait()),
            ("flock2", config.flock2()),
            ("flock-wait2", config.flock_wait2()),
        ];
        let loggers = [
            ("logger", config.logger()),
            ("req-logger", config.req_logger()),
        ];
        let here = |path: &str| self.invocation.cwd.join(path);
        let early = early
            .into_iter()
            .filter_map(|(name, path)| Some((name, here(path?))));
        let late = late
            .into_iter()
            .filter_map(|(name, path)| Some((name, self.path(path?))));
        let locks = locks
            .into_iter()
            .flat_map(|(name, paths)| paths.iter().map(move |path| (name, here(path))));
        let logged = loggers.into_iter().flat_map(|(name, loggers)| {
            let paths = loggers.iter().filter_map(file_of);
            paths.map(move |path| (name, self.path(&path.to_string_lossy())))
        });
        early.chain(late).chain(locks).chain(logged).collect()
    }

    /// Checks that the directory of a file exists. A missing directory is only a warning if a command of the start may
    /// create it, or if it is below /run, where systemd creates directories.
    fn parent_of(&mut self, option: &str, path: &Path) {
        let directory = path.parent().unwrap_or(Path::new("/"));
        if directory.is_dir() {
            return;
        }
        let what = format!("the directory {} does not exist", directory.display());
        let hint = format!("create {}, or correct the path", directory.display());
        let mut names = self.config.entries.iter().map(|(name, ..)| name.as_str());
        let runs_commands =
            names.any(|name| name.starts_with("exec-") || name.starts_with("hook-"));
        let is_made = directory.starts_with("/run") || directory.starts_with("/var/run");
        match runs_commands || is_made {
            true => self.warn(option, what, hint),
            false => self.error(option, what, hint),
        }
    }

    /// Checks that the Python files of programs and of `pecan`, and the file of `paste`, exist.
    pub(super) fn program_files(&mut self) {
        let config = self.config;
        let paste = config.paste().and_then(|uri| uri.strip_prefix("config:"));
        let paste = paste.and_then(|path| path.split('#').next());
        let files = [
            ("python-worker-override", config.python_worker_override()),
            ("pyrun", config.pyrun()),
            ("pecan", config.pecan()),
            ("paste", paste),
        ];
        for (option, file) in files {
            if let Some(file) = file.filter(|file| !self.path(file).is_file()) {
                self.error(
                    option,
                    format!("the file {file} does not exist"),
                    "correct the path; it is relative to chdir",
                );
            }
        }
    }

    /// Checks that the alarms that options refer to are defined.
    pub(super) fn alarms(&mut self) {
        let config = self.config;
        let of_lines = config.log_alarm().iter();
        let of_lines = of_lines.flat_map(|rule| rule.logger.split(','));
        let listed = [
            ("alarm-segfault", config.alarm_segfault()),
            ("alarm-backlog", config.alarm_backlog()),
        ];
        let listed = listed
            .into_iter()
            .flat_map(|(option, names)| names.iter().map(move |name| (option, name.as_str())));
        for (option, name) in listed.chain(of_lines.map(|name| ("log-alarm", name))) {
            if !name.is_empty() && !config.alarm().iter().any(|alarm| alarm.name == name) {
                self.warn(
                    option,
                    format!("there is no alarm {name}"),
                    format!("add alarm = {name} cmd:COMMAND"),
                );
            }
        }
    }
}

/// The file of a logger; `None` if the logger does not write to a file.
fn file_of(logger: &Logger) -> Option<&Path> {
    match &logger.engine {
        Engine::File(file) => Some(&file.path),
        _ => None,
    }
}
