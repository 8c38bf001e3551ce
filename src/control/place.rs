//! Where control sockets are.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::sys::user;

/// Where emperors have their control sockets: the first is where this user's are made.
pub(crate) fn directories() -> Vec<PathBuf> {
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

/// A name that tells the sources, and that no other sources have.
pub(crate) fn file_name(sources: &str) -> String {
    const TOLD: usize = 40;
    let plain: String = sources
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let told = &plain[plain.len().saturating_sub(TOLD)..];
    // FNV-1a: the same in every version, unlike the standard library's
    let hash = sources
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
mod tests {
    use super::*;

    #[test]
    fn sources_have_names_of_their_own() {
        assert!(file_name("/etc/uwsgi/vassals").starts_with("etc-uwsgi-vassals-"));
        assert_ne!(file_name("/a/b"), file_name("/a-b"));
        assert!(file_name(&"é/".repeat(200)).len() < 60);
    }
}
