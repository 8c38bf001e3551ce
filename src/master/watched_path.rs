//! A path that the kernel watches: a directory with all its files, or one file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::watch::Change;

/// A directory with all its files, or one file.
#[derive(Debug)]
pub(super) struct WatchedPath {
    directory: PathBuf,
    /// The file to watch; `None` for every file of the directory.
    file: Option<PathBuf>,
}

impl WatchedPath {
    pub(super) fn new(path: &Path) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        match path.parent() {
            Some(parent) if !path.is_dir() => Self {
                directory: parent.to_owned(),
                file: Some(path),
            },
            _ => Self {
                directory: path,
                file: None,
            },
        }
    }

    /// The directory that has to be watched.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The absolute path, for the log.
    pub(super) fn shown(&self) -> &Path {
        self.file.as_deref().unwrap_or(&self.directory)
    }

    /// Whether a change concerns this path.
    pub(super) fn is_changed_by(&self, change: &Change) -> bool {
        match (change, &self.file) {
            (Change::Everything, _) => true,
            (Change::Directory(directory, _), _) => *directory == self.directory,
            (Change::File(path, _), Some(file)) => path == file,
            (Change::File(path, _), None) => path.parent() == Some(&self.directory),
        }
    }

    /// Whether a change concerns this path. False for a file that Python, its tools or editors write beside the source
    /// files of a watched directory.
    pub(super) fn is_source_changed_by(&self, change: &Change) -> bool {
        let is_by_product = match (change, &self.file) {
            (Change::File(path, _), None) => path.file_name().is_none_or(is_by_product),
            _ => false,
        };
        self.is_changed_by(change) && !is_by_product
    }
}

/// Whether Python, its tools or editors write a file with this name beside the source files.
fn is_by_product(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    let compiled = Path::new(name)
        .extension()
        .is_some_and(|it| it.as_bytes().starts_with(b"pyc"));
    bytes == b"__pycache__" || compiled || bytes.starts_with(b".") || bytes.ends_with(b"~")
}
