//! A site: a temporary directory with an application in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use super::Launch;

/// Name of the directory for control sockets (`RUWSGI_RUNTIME_DIRECTORY`).
const RUNTIME_DIRECTORY: &str = ".run";

/// Variables of service managers and of virtual environments.
const SUPERVISION: [&str; 6] = [
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "VIRTUAL_ENV",
];

/// A temporary directory; dropping the last clone removes it.
#[derive(Clone)]
pub struct Site {
    directory: Arc<tempfile::TempDir>,
}

impl Site {
    /// An empty directory that every user can enter.
    pub fn empty() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("ruwsgi-")
            .tempdir()
            .unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            directory: Arc::new(directory),
        }
    }

    /// A site with a copy of `tests/apps/NAME`.
    pub fn with(name: &str) -> Self {
        let site = Self::empty();
        copy(
            &Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/apps")
                .join(name),
            site.path(),
        );
        site
    }

    /// A site with this `app.py`.
    pub fn of(app: &str) -> Self {
        let site = Self::empty();
        site.write("app.py", app);
        site
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The path of a file of the site.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The path of a file of the site as text, for a configuration.
    pub fn at(&self, name: &str) -> String {
        self.file(name).to_str().unwrap().to_owned()
    }

    /// Writes a file and creates its directories. It removes the bytecode cache, because Python does not recompile a
    /// file that has the same size and the same modification time in seconds.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let aside = path.with_extension("new");
        fs::write(&aside, text).unwrap();
        let _ = fs::remove_dir_all(path.parent().unwrap().join("__pycache__"));
        fs::rename(aside, path).unwrap();
    }

    /// Writes an executable file atomically.
    pub fn write_executable(&self, name: &str, text: &str) {
        let aside = self.file("executable.new");
        fs::write(&aside, text).unwrap();
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(aside, self.file(name)).unwrap();
    }

    /// The contents of a file; empty if it does not exist.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// Whether a file exists.
    pub fn has(&self, name: &str) -> bool {
        self.file(name).exists()
    }

    /// Runs `ruwsgi WORDS` in this directory.
    pub fn command(&self, words: &[&str]) -> Output {
        self.ruwsgi(words).output().unwrap()
    }

    /// The command `ruwsgi WORDS` in this directory, not started.
    pub fn ruwsgi(&self, words: &[&str]) -> Command {
        let mut command = Command::new(super::binary());
        command.args(words).current_dir(self.path());
        self.isolate(&mut command);
        command
    }

    /// Separates a server or client from other instances on the machine: removes the variables of the test process that
    /// configure or supervise servers, and sets the runtime directory of this site.
    pub(super) fn isolate(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("UWSGI_")
                || text.starts_with("RUWSGI_")
                || SUPERVISION.contains(&&*text)
            {
                command.env_remove(&name);
            }
        }
        if !super::under_uwsgi() {
            command.env("RUWSGI_RUNTIME_DIRECTORY", self.file(RUNTIME_DIRECTORY));
        }
    }

    /// A server for this site, not started.
    pub fn server(&self) -> Launch {
        Launch::on(self)
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
