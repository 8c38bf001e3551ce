//! Searches PATH for an interpreter.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The names that are looked up on PATH if no interpreter is configured.
pub(super) const DEFAULT_NAMES: [&str; 2] = ["python3", "python"];

/// Searches the directories of `path_env` (the value of PATH) for `names`: first all directories for the first name,
/// then for the next. Includes files that this process may not examine, so that the caller can report them.
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

/// Makes a path absolute; a relative path starts at the working directory.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}
