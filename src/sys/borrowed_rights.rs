//! Touching a user's files with no more right than he has.

use std::io;

use nix::errno::Errno;
use nix::unistd::{self, Gid, Uid};

use super::process::Identity;

/// Does something to files as this user; as this process where there is none.
///
/// For root, and for the thread that calls: paths that the user has chosen must not lead root where he could not go.
/// See setfsuid(2); the kernel takes the capabilities over files away together with the user id.
///
/// # Errors
/// Those of `work`, and those of setgroups(2).
pub fn as_identity<T>(
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
    let done = work();
    unistd::setfsuid(own_user);
    unistd::setfsgid(own_group);
    set_groups(&groups)?;
    done
}

/// Sets the supplementary groups of this thread, as setfsuid(2) does it with the user; setgroups(3) would change all.
fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: the kernel reads as many numbers as the slice has.
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
    fn roots_own_files_are_out_of_reach_meanwhile() {
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
        // the other tests of this process have threads of their own; user ids over files are each thread's
        let (refused, done) = std::thread::scope(|scope| {
            let test = scope.spawn(|| {
                let refused = as_identity(Some(&nobody), || fs::remove_file(&file));
                (refused, as_identity(None, || fs::remove_file(&file)))
            });
            test.join().unwrap()
        });
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        done.unwrap();
    }
}
