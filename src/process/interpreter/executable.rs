//! Checks whether this process may execute a file, and explains why it may not.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::sys::user::{self, may_execute};

/// Maximum symbolic links that are followed, as in the kernel.
const MAX_LINKS: usize = 40;

/// Checks that a path leads to a regular file which the effective user may execute.
///
/// # Errors
/// The reason, as a predicate that follows the path in a sentence.
pub(super) fn check_executable(path: &Path) -> Result<(), String> {
    let metadata = fs::metadata(path).map_err(|error| why_unreachable(path, &error))?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    match may_execute(path) {
        true => Ok(()),
        false => Err(format!("is not executable by {}", this_user())),
    }
}

/// Whether a file begins with `#!`. A file that this process may not read counts as no script.
///
/// # Errors
/// Those of open(2) and read(2).
pub(super) fn is_script(path: &Path) -> io::Result<bool> {
    let mut start = [0; 2];
    match File::open(path).and_then(|mut file| file.read_exact(&mut start)) {
        Ok(()) => Ok(start == *b"#!"),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        Err(error) => Err(error),
    }
}

/// Explains why stat(2) of a path failed, as a predicate that follows the path in a sentence.
pub(super) fn why_unreachable(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound if path.is_symlink() => {
            format!(
                "is a link to {}, which is gone",
                link_target(path).display()
            )
        }
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => {
            let closed = closed_directory(path).or_else(|| closed_directory(&link_target(path)));
            match closed {
                Some(directory) => format!(
                    "cannot be reached: {} may not enter {}",
                    this_user(),
                    directory.display()
                ),
                None => format!("cannot be reached by {}", this_user()),
            }
        }
        _ => format!("cannot be used: {error}"),
    }
}

/// Follows a chain of symbolic links and returns its last path, which may not exist.
pub(super) fn link_target(link: &Path) -> PathBuf {
    let mut path = link.to_path_buf();
    for _ in 0..MAX_LINKS {
        let Ok(target) = fs::read_link(&path) else {
            break;
        };
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    path
}

/// The first parent directory of a path, starting from the root, that this process may not enter.
fn closed_directory(path: &Path) -> Option<PathBuf> {
    let mut parents: Vec<&Path> = path.ancestors().skip(1).collect();
    parents.reverse();
    let closed = parents
        .into_iter()
        .find(|directory| !may_execute(directory));
    closed.map(Path::to_path_buf)
}

/// The effective user, for messages.
pub(super) fn this_user() -> String {
    format!("user {}", user::current_name())
}
