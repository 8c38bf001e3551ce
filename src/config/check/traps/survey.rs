//! The state of the search for likely mistakes.

use std::path::PathBuf;

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

    /// Adds a warning at the place of an option.
    pub(super) fn warn(&mut self, option: &str, what: impl Into<String>, hint: impl Into<String>) {
        let place = self.place(option);
        self.found
            .push(Finding::warning(place, Fault::new(what).hint(hint)));
    }

    /// The path of a name in the configuration, relative to `chdir`.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.invocation
            .cwd
            .join(self.config.chdir().unwrap_or_default())
            .join(path)
    }
}
