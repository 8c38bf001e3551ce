//! Looking up an interpreter's name on PATH.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The names that are looked up where none is configured.
pub(super) const DEFAULT_NAMES: [&str; 2] = ["python3", "python"];

/// The files of these names in the directories of `path_env` (the value of PATH), those of the first name first. Files
/// that cannot be examined for lack of permission are among them.
pub(super) fn candidates(names: &[&str], path_env: &OsStr) -> impl Iterator<Item = PathBuf> {
    let directories = path_env
        .as_bytes()
        .split(|byte| *byte == b':')
        .filter(|directory| !directory.is_empty());
    let paths = names.iter().flat_map(move |name| {
        let directories = directories.clone();
        directories
            .map(move |directory| absolute(&Path::new(OsStr::from_bytes(directory)).join(name)))
    });
    paths.filter(|path| match fs::symlink_metadata(path) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    })
}

/// A path from the working directory on, made absolute.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}
