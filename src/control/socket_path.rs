//! The directories and file names of control sockets.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::sys::user;

/// Prefix of the name of a user's subdirectory; the user id follows.
const USER_DIR_PREFIX: &str = "uid-";

/// Environment variable that overrides the control-socket directory, for servers and clients.
const RUNTIME_DIR_VARIABLE: &str = "RUWSGI_RUNTIME_DIRECTORY";

/// The directories of control sockets. Sockets of this process are created in the first directory.
///
/// If `RUWSGI_RUNTIME_DIRECTORY` is set, it is the only directory.
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
    std::env::var_os(RUNTIME_DIR_VARIABLE)
        .filter(|directory| !directory.is_empty())
        .map(PathBuf::from)
}

/// The directory for the control socket of an instance that will run as user `uid`. It is `base`, or the default
/// directory if `base` is `None`. An instance of another user gets a subdirectory that this user owns. Otherwise the
/// instance could not remove its socket. Creates the directories.
///
/// # Errors
/// Returns a sentence if a directory cannot be created or is not safe.
pub(crate) fn for_instance(base: Option<PathBuf>, uid: u32) -> Result<PathBuf, String> {
    let base = only_directory().or(base);
    let base = base.or_else(|| directories().into_iter().next());
    let base = base.unwrap_or_default();
    make_directory(&base)?;
    if uid == user::current_uid() {
        return Ok(base);
    }
    let own = base.join(format!("{USER_DIR_PREFIX}{uid}"));
    let made = fs::DirBuilder::new().mode(0o700).create(&own);
    let shown = own.display();
    let metadata = match made {
        Ok(()) => std::os::unix::fs::lchown(&own, Some(uid), None),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    };
    let metadata = metadata.and_then(|()| fs::symlink_metadata(&own));
    let metadata = metadata.map_err(|error| format!("{shown} cannot be created: {error}"))?;
    match metadata.is_dir() && metadata.uid() == uid {
        true => Ok(own),
        false => Err(format!("{shown} is not a directory owned by user {uid}")),
    }
}

/// The runtime directory of a service: the first path in `variable`, the value of `RUNTIME_DIRECTORY`. systemd sets
/// this variable for `RuntimeDirectory=`; see systemd.exec(5).
pub(crate) fn of_service(variable: Option<&str>) -> Option<PathBuf> {
    let first = variable?.split(':').next()?;
    (!first.is_empty()).then(|| PathBuf::from(first))
}

/// The control sockets of all users, if this process can see them. The socket of a killed process stays, so some of
/// them may be stale.
pub(crate) fn sockets() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let given = match only_directory() {
        Some(_) => None,
        None => of_service(std::env::var("RUNTIME_DIRECTORY").ok().as_deref()),
    };
    for directory in directories().into_iter().chain(given) {
        for path in list(&directory) {
            match is_socket(&path) {
                true => found.push(path),
                // a subdirectory belongs to a user, or to a service with its own runtime directory
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

/// The file name of the control socket of an emperor with these sources. Different sources have different names.
pub(crate) fn file_name(sources: &str) -> String {
    named(sources, sources)
}

/// The file name of a socket: the readable `label`, and a hash of `identity`.
pub(crate) fn named(label: &str, identity: &str) -> String {
    const MAX_LABEL: usize = 40;
    let plain: String = label
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let label = &plain[plain.len().saturating_sub(MAX_LABEL)..];
    // the FNV-1a hash is the same in every version; the hash of the standard library may change
    let hash = identity
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{}-{:08x}.sock", label.trim_matches('-'), hash as u32)
}

/// Creates a directory of control sockets. Returns a sentence if that fails, or if other users can write to the
/// directory.
pub(crate) fn make_directory(directory: &Path) -> Result<(), String> {
    let mode = if user::is_root() { 0o755 } else { 0o700 };
    let made = fs::DirBuilder::new()
        .mode(mode)
        .recursive(true)
        .create(directory);
    let metadata = made.and_then(|()| fs::symlink_metadata(directory));
    let shown = directory.display();
    let metadata = metadata.map_err(|error| format!("{shown} cannot be created: {error}"))?;
    if !metadata.is_dir() || metadata.uid() != user::current_uid() || metadata.mode() & 0o022 != 0 {
        return Err(format!(
            "{shown} is not a directory that only {} can write to",
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
    fn different_sources_have_different_names() {
        assert!(file_name("/etc/uwsgi/vassals").starts_with("etc-uwsgi-vassals-"));
        assert_ne!(file_name("/a/b"), file_name("/a-b"));
        assert!(file_name(&"é/".repeat(200)).len() < 60);
        assert_ne!(named("site", "/a site.ini"), named("site", "/b site.ini"));
    }

    #[test]
    fn a_service_with_several_runtime_directories_uses_the_first() {
        let first = Some(PathBuf::from("/run/a"));
        assert_eq!(of_service(Some("/run/a:/run/b")), first);
        assert_eq!(of_service(Some("/run/a")), first);
        assert_eq!(of_service(Some("")), None);
        assert_eq!(of_service(None), None);
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
