//! Explains why a path cannot be used: names the missing directory or the user without permission.

use std::io;
use std::path::Path;

use nix::unistd::{Uid, User};

/// Explains the error of an operation on a path, for a message that already names the path.
pub fn reason(path: &Path, error: &io::Error) -> String {
    let kind = error.raw_os_error().map(|_| error.kind());
    match kind.unwrap_or(io::ErrorKind::Other) {
        io::ErrorKind::NotFound => missing(path),
        io::ErrorKind::PermissionDenied => {
            let uid = Uid::effective();
            let user = User::from_uid(uid).ok().flatten();
            let user = user.map_or_else(|| format!("uid {uid}"), |user| user.name);
            format!("permission denied for {user}")
        }
        io::ErrorKind::NotADirectory => "a part of the path is not a directory".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        // this includes errors that this program has created with their own text
        _ => error.to_string(),
    }
}

/// Explains that a path does not exist: names its first missing parent directory, or a link whose target is missing.
fn missing(path: &Path) -> String {
    let parents: Vec<&Path> = path.ancestors().skip(1).collect();
    let is_missing = |parent: &&&Path| !parent.as_os_str().is_empty() && !parent.exists();
    match parents.iter().rev().find(is_missing) {
        Some(parent) => format!(
            "the directory {} does not exist; create it first",
            parent.display()
        ),
        None if path.is_symlink() => "the file that the link leads to does not exist".to_owned(),
        None => "it does not exist".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_first_missing_directory_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let of = |name: &str| {
            let path = directory.path().join(name);
            reason(&path, &std::fs::File::open(&path).unwrap_err())
        };
        let first = directory.path().join("a");
        assert_eq!(
            of("a/b/c"),
            format!(
                "the directory {} does not exist; create it first",
                first.display()
            )
        );
        assert_eq!(of("c"), "it does not exist");
        std::fs::write(directory.path().join("file"), "").unwrap();
        assert_eq!(of("file/c"), "a part of the path is not a directory");
        std::os::unix::fs::symlink("nowhere", directory.path().join("link")).unwrap();
        assert!(of("link").contains("link leads to"));
    }
}
