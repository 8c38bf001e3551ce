//! Accesses files with the rights of another user: setfsuid(2).

use std::io;

use nix::errno::Errno;
use nix::unistd::{self, Gid, Uid};

use super::user::Identity;

/// Runs `work` with the file access rights of a user; with `None`, with the rights of this process.
///
/// A process of root uses this for a path that another user has chosen, so that the path cannot lead to a file which
/// that user may not reach. Applies to the calling thread only. When the file system user id changes, the kernel also
/// drops the thread's capabilities over files.
///
/// # Errors
/// Those of `work`, and those of setgroups(2).
pub fn with_identity<T>(
    identity: Option<&Identity>,
    work: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let Some(identity) = identity else {
        return work();
    };
    let groups: Vec<u32> = unistd::getgroups()?
        .iter()
        .map(|gid| gid.as_raw())
        .collect();
    set_groups(&identity.groups)?;
    let own_group = unistd::setfsgid(Gid::from_raw(identity.gid));
    let own_user = unistd::setfsuid(Uid::from_raw(identity.uid));
    let result = work();
    unistd::setfsuid(own_user);
    unistd::setfsgid(own_group);
    set_groups(&groups)?;
    result
}

/// Sets the supplementary groups of the calling thread. (The C library's setgroups changes the groups of all threads.)
fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: the kernel reads the numbers of the slice, whose length is passed.
    Errno::result(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_of_root_cannot_be_removed_as_another_user() {
        if !unistd::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let nobody = Identity {
            uid: 65_534,
            gid: 65_534,
            groups: vec![65_534],
        };
        // in a thread, which has its own file system ids
        let (refused, removed) = std::thread::scope(|scope| {
            let test = scope.spawn(|| {
                let refused = with_identity(Some(&nobody), || fs::remove_file(&file));
                (refused, with_identity(None, || fs::remove_file(&file)))
            });
            test.join().unwrap()
        });
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        removed.unwrap();
    }
}
