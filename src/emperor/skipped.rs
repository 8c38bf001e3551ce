//! The skipped files: a skipped file has the name of a vassal's file, but defines no vassal. Examples are dangling
//! links, links into closed directories, and directories.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::ipc::control::Row;

use super::source::Definition;
use super::stamp::Unusable;

/// A file that defines no vassal, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Skipped {
    pub(super) definition: Definition,
    pub(super) reason: Unusable,
    /// The user id of the owner. For a symbolic link it is the owner of the link, not of its target.
    pub(super) owner: Option<u32>,
}

impl Skipped {
    /// Creates the record of a file; `None` if the file does not exist.
    pub(super) fn new(definition: Definition, reason: Unusable) -> Option<Skipped> {
        let metadata = fs::symlink_metadata(&definition.file);
        let owner = metadata.ok().map(|metadata| metadata.uid());
        (reason != Unusable::Missing).then_some(Skipped {
            definition,
            reason,
            owner,
        })
    }

    /// The row of the file in `ruwsgi ls`.
    pub(super) fn row(&self) -> Row {
        Row {
            name: self.definition.name.clone(),
            path: self.definition.path.display().to_string(),
            state: "skipped".to_owned(),
            reason: Some(self.reason.to_string()),
            ..Row::default()
        }
    }
}

/// The skipped files, each by the path of the vassal that it would define.
#[derive(Debug, Default)]
pub(super) struct SkippedFiles {
    by_path: BTreeMap<PathBuf, Skipped>,
}

impl SkippedFiles {
    /// The skipped files, in the order of their paths.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Skipped> {
        self.by_path.values()
    }

    /// Removes the file that would define the vassal with this path.
    pub(super) fn remove(&mut self, path: &Path) {
        self.by_path.remove(path);
    }

    /// Replaces the records for which `scope` returns true by `skipped`. Logs the new records.
    pub(super) fn replace(&mut self, scope: impl Fn(&Skipped) -> bool, skipped: Vec<Skipped>) {
        self.by_path.retain(|path, known| {
            !scope(known) || skipped.iter().any(|it| it.definition.path == *path)
        });
        for file in skipped {
            self.add(file);
        }
    }

    /// Adds a file; logs it unless it is already known with the same reason.
    fn add(&mut self, skipped: Skipped) {
        let path = skipped.definition.path.clone();
        let name = skipped.definition.name.clone();
        let reason = skipped.reason.clone();
        let known = self.by_path.insert(path, skipped);
        if known.is_some_and(|known| known.reason == reason) {
            return;
        }
        match reason {
            Unusable::LinkIgnored => tracing::info!("vassal {name}: skipped: {reason}"),
            reason => tracing::warn!("vassal {name}: skipped: {reason}"),
        }
    }
}
