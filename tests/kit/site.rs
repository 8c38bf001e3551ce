//! A site: a temporary directory with an application in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use super::Launch;
use super::launch::RUNTIME_DIRECTORY;

/// A directory that goes away with its last owner.
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

    /// A copy of `tests/apps/NAME`.
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

    /// A site whose `app.py` is this text.
    pub fn of(app: &str) -> Self {
        let site = Self::empty();
        site.write("app.py", app);
        site
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A path below the directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The same as text, for a configuration.
    pub fn at(&self, name: &str) -> String {
        self.file(name).to_str().unwrap().to_owned()
    }

    /// Writes a file, with the directories it needs. A Python file gets a date of its own, so that no
    /// bytecode of an earlier text of the same second and length is taken for it.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let aside = path.with_extension("new");
        fs::write(&aside, text).unwrap();
        let _ = fs::remove_dir_all(path.parent().unwrap().join("__pycache__"));
        fs::rename(aside, path).unwrap();
    }

    /// What stands in a file; empty if there is none.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// Whether a file is there.
    pub fn has(&self, name: &str) -> bool {
        self.file(name).exists()
    }

    /// What `ruwsgi WORDS` says to the operator of this site.
    pub fn operator(&self, words: &[&str]) -> Output {
        let mut command = Command::new(super::binary());
        command
            .args(words)
            .env("RUWSGI_RUNTIME_DIRECTORY", self.file(RUNTIME_DIRECTORY))
            .current_dir(self.path());
        command.output().unwrap()
    }

    /// A server to be started on this site.
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
