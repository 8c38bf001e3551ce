//! Where control sockets are.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::sys::user;

/// Below the system's directory: the sockets of the user of this number.
const OF_USER: &str = "uid-";

/// Environment variable: the only directory of control sockets, for instances and for clients.
const ONLY: &str = "RUWSGI_RUNTIME_DIRECTORY";

/// Directories of control sockets; this user's sockets are created in the first one.
///
/// `RUWSGI_RUNTIME_DIRECTORY` replaces all of them.
pub(crate) fn directories() -> Vec<PathBuf> {
    if let Some(only) = only_directory() {
        return vec![only];
    }
    let system = PathBuf::from("/run/ruwsgi");
    if user::is_root() {
        return vec![system];
    }
    let own = match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) if !directory.is_empty() => PathBuf::from(directory).join("ruwsgi"),
        _ => std::env::temp_dir().join(format!("ruwsgi-{}", user::current_uid())),
    };
    vec![own, system]
}

fn only_directory() -> Option<PathBuf> {
    std::env::var_os(ONLY)
        .filter(|directory| !directory.is_empty())
        .map(PathBuf::from)
}

/// The directory in `base` (or where they usually are) for the socket of an instance that will run as `uid`. A user
/// who could not remove what he has in the directory of another one gets one in it.
///
/// # Errors
/// A sentence about a directory that is not there and cannot be made, or is not safe.
pub(crate) fn for_instance(base: Option<PathBuf>, uid: u32) -> Result<PathBuf, String> {
    let base = only_directory().or(base);
    let base = base.or_else(|| directories().into_iter().next());
    let base = base.unwrap_or_default();
    make_directory(&base)?;
    if uid == user::current_uid() {
        return Ok(base);
    }
    let own = base.join(format!("{OF_USER}{uid}"));
    let made = fs::DirBuilder::new().mode(0o700).create(&own);
    let shown = own.display();
    let about = match made {
        Ok(()) => std::os::unix::fs::lchown(&own, Some(uid), None),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    };
    let about = about.and_then(|()| fs::symlink_metadata(&own));
    let about = about.map_err(|error| format!("{shown} cannot be made: {error}"))?;
    match about.is_dir() && about.uid() == uid {
        true => Ok(own),
        false => Err(format!("{shown} is not a directory of user {uid}")),
    }
}

/// The sockets that are found, of whomever; some may have been left by those that were killed.
pub(crate) fn sockets() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let given = match only_directory() {
        Some(_) => None,
        None => std::env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from),
    };
    for directory in directories().into_iter().chain(given) {
        for path in list(&directory) {
            match is_socket(&path) {
                true => found.push(path),
                // a user's, or that of a service with a runtime directory of its own
                false => found.extend(list(&path).into_iter().filter(|path| is_socket(path))),
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

fn list(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn is_socket(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "sock")
}

/// A name that tells the sources, and that no other sources have.
pub(crate) fn file_name(sources: &str) -> String {
    named(sources, sources)
}

/// A socket's file name: some letters of `told` for who looks at it, and what makes `identity` itself.
pub(crate) fn named(told: &str, identity: &str) -> String {
    const TOLD: usize = 40;
    let plain: String = told
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let told = &plain[plain.len().saturating_sub(TOLD)..];
    // FNV-1a: the same in every version, unlike the standard library's
    let hash = identity
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{}-{:08x}.sock", told.trim_matches('-'), hash as u32)
}

/// Makes the directory of control sockets; one that others could write to is not taken.
pub(crate) fn make_directory(directory: &Path) -> Result<(), String> {
    let mode = if user::is_root() { 0o755 } else { 0o700 };
    let made = fs::DirBuilder::new()
        .mode(mode)
        .recursive(true)
        .create(directory);
    let about = made.and_then(|()| fs::symlink_metadata(directory));
    let shown = directory.display();
    let about = about.map_err(|error| format!("{shown} cannot be made: {error}"))?;
    if !about.is_dir() || about.uid() != user::current_uid() || about.mode() & 0o022 != 0 {
        return Err(format!(
            "{shown} is not a directory of {} alone",
            user::current_name()
        ));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sources_have_names_of_their_own() {
        assert!(file_name("/etc/uwsgi/vassals").starts_with("etc-uwsgi-vassals-"));
        assert_ne!(file_name("/a/b"), file_name("/a-b"));
        assert!(file_name(&"é/".repeat(200)).len() < 60);
        assert_ne!(named("site", "/a site.ini"), named("site", "/b site.ini"));
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("run/ruwsgi");
        let own = for_instance(Some(base.clone()), user::current_uid()).unwrap();
        assert_eq!(own, base);
        fs::set_permissions(&base, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(for_instance(Some(base), user::current_uid()).is_err());
    }
}
