//! `Survey`: the configuration that `ruwsgi check` examines for likely mistakes, and the findings so far.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::finding::{Fault, Finding, Place};
use crate::config::read::invocation::Invocation;
use crate::config::table::options::{self, Config};

/// The configuration that is examined, and the findings so far.
pub(super) struct Survey<'a> {
    pub(super) config: &'a Config,
    pub(super) invocation: &'a Invocation,
    pub(super) found: Vec<Finding>,
}

impl Survey<'_> {
    /// The place where an option was given last, by any of its names.
    pub(super) fn place(&self, option: &str) -> Option<Place> {
        let row = options::find(option)?;
        let last = self
            .config
            .entries
            .iter()
            .rev()
            .find(|(name, ..)| row.names.contains(&name.as_str()));
        last.and_then(|(_, _, place)| place.clone())
    }

    /// The first line of the first configuration file. Findings about a missing option have this place.
    pub(super) fn first_line(&self) -> Option<Place> {
        let places = self
            .config
            .entries
            .iter()
            .filter_map(|(_, _, place)| place.as_ref());
        let mut files = places.filter_map(|place| match place {
            Place::File { file, .. } => Some(file),
            _ => None,
        });
        files.next().map(|file| Place::File {
            file: Arc::clone(file),
            line: 1,
        })
    }

    /// Adds a warning at the place of an option, or at the first line if the option is not given.
    pub(super) fn warn(&mut self, option: &str, what: impl Into<String>, hint: impl Into<String>) {
        let place = self.place(option).or_else(|| self.first_line());
        self.found
            .push(Finding::warning(place, Fault::new(what).hint(hint)));
    }

    /// Adds an error at the place of an option, or at the first line if the option is not given. An error means that
    /// the instance does not start, or does not serve.
    pub(super) fn error(&mut self, option: &str, what: impl Into<String>, hint: impl Into<String>) {
        let place = self.place(option).or_else(|| self.first_line());
        self.found
            .push(Finding::error(place, Fault::new(what).hint(hint)));
    }

    /// Resolves a path of the configuration, relative to `chdir` and inside of `chroot`.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        let directory = self.directory();
        match self.config.chroot() {
            Some(root) => inside(Path::new(root), &directory.join(path)),
            None => directory.join(path),
        }
    }

    /// The working directory of the application, as a path inside of `chroot`.
    fn directory(&self) -> PathBuf {
        let base = match self.config.chroot() {
            Some(_) => Path::new("/"),
            None => &self.invocation.cwd,
        };
        base.join(self.config.chdir().unwrap_or_default())
    }
}

/// Converts an absolute path inside of the chroot directory `root` to the path as seen from outside.
fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
