//! Opens files as root at paths where another user may have created a link. Only root's symbolic links are followed.
//!
//! A process that is not root opens the path as usual.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open as open_plain, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::user;

/// Maximum symbolic links in a path, as in the kernel.
const MAX_LINKS: usize = 40;

/// Opens a file. With `O_NOFOLLOW` the path must not end in a symbolic link, even if root owns the link.
///
/// A process of root refuses a path with a symbolic link of another user on it. It also refuses a pipe of another user,
/// and a file with several hard links in a directory to which another user can write.
///
/// # Errors
/// Those of openat(2); `PermissionDenied` with the reason when the path or file is refused.
pub fn open(path: &Path, flags: OFlag, mode: Mode) -> io::Result<File> {
    let flags = flags | OFlag::O_CLOEXEC;
    if !user::is_root() {
        return Ok(File::from(open_plain(path, flags, mode)?));
    }
    let place = Place::find(path, !flags.contains(OFlag::O_NOFOLLOW))?;
    let flags = match place.is_kernels {
        true => flags,
        // the name was no link when it was examined; if another user has put a link there meanwhile, the open fails
        false => flags | OFlag::O_NOFOLLOW,
    };
    let file = openat(&place.directory, place.name.as_os_str(), flags, mode)?;
    place.check(&fstat(&file)?)?;
    Ok(File::from(file))
}

/// Opens the parent directory of a path. Returns it with the last name of the path. Symbolic links on the way are
/// checked as in [`open`]; the last name is not resolved.
///
/// # Errors
/// Those of [`open`].
pub fn directory_of(path: &Path) -> io::Result<(OwnedFd, OsString)> {
    if user::is_root() {
        return Place::find(path, false).map(|place| (place.directory, place.name));
    }
    let path = std::path::absolute(path)?;
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::EISDIR.into());
    };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = open_plain(directory, flags, Mode::empty())?;
    Ok((directory, name.to_owned()))
}

/// Removes a file. Symbolic links on the way are checked as in [`open`]. If the path ends in a link, the link itself is
/// removed.
///
/// # Errors
/// Those of [`open`] and unlink(2).
pub fn unlink(path: &Path) -> io::Result<()> {
    let (directory, name) = directory_of(path)?;
    Ok(unlinkat(
        &directory,
        name.as_os_str(),
        UnlinkatFlags::NoRemoveDir,
    )?)
}

/// A name in an open directory, found without following a symbolic link of another user.
struct Place {
    directory: OwnedFd,
    name: OsString,
    /// Whether the name is a link in /proc that the kernel itself resolves to an open file.
    is_kernels: bool,
}

impl Place {
    fn find(path: &Path, follow_last: bool) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let mut rest = parts(&path);
        let mut here = root()?;
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == "/" {
                here = root()?;
                continue;
            }
            let is_last = rest.is_empty();
            let found = match is_last && !follow_last {
                true => Err(Errno::ENOENT),
                false => step(&here, &name, OFlag::O_NOFOLLOW),
            };
            let found = match found {
                Err(Errno::ENOENT) if is_last => return Ok(Self::new(here, name, false)),
                found => found?,
            };
            let about = fstat(&found)?;
            if !is_kind(&about, SFlag::S_IFLNK) {
                if is_last {
                    return Ok(Self::new(here, name, false));
                }
                here = found;
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::ELOOP.into());
            }
            check_owner(&about, &name)?;
            if fstatfs(found.as_fd())?.filesystem_type() == PROC_SUPER_MAGIC {
                if is_last {
                    return Ok(Self::new(here, name, true));
                }
                here = step(&here, &name, OFlag::O_DIRECTORY)?;
                continue;
            }
            for part in parts(Path::new(&readlinkat(&found, "")?)).into_iter().rev() {
                rest.push_front(part);
            }
        }
        Err(Errno::EISDIR.into())
    }

    fn new(directory: OwnedFd, name: OsString, is_kernels: bool) -> Self {
        Self {
            directory,
            name,
            is_kernels,
        }
    }

    /// Refuses an open file that another user may have put at this place: a pipe of another user, or a hard link.
    fn check(&self, file: &FileStat) -> io::Result<()> {
        if self.is_kernels {
            return Ok(());
        }
        if is_kind(file, SFlag::S_IFIFO) && file.st_uid != 0 {
            let owner = user::name_of(file.st_uid);
            return refused(format!(
                "it is a pipe of user {owner}, and this process is root"
            ));
        }
        let directory = fstat(&self.directory)?;
        let is_shared = directory.st_uid != 0 || directory.st_mode & 0o022 != 0;
        if is_kind(file, SFlag::S_IFREG) && file.st_nlink > 1 && is_shared {
            return refused(
                "it has several hard links, and another user can write to its directory".to_owned(),
            );
        }
        Ok(())
    }
}

fn check_owner(link: &FileStat, name: &OsStr) -> io::Result<()> {
    match link.st_uid {
        0 => Ok(()),
        uid => refused(format!(
            "{} on its path is a symbolic link of user {}; root follows only its own links",
            name.display(),
            user::name_of(uid)
        )),
    }
}

fn refused<T>(reason: String) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
}

fn is_kind(file: &FileStat, kind: SFlag) -> bool {
    file.st_mode & SFlag::S_IFMT.bits() == kind.bits()
}

fn root() -> nix::Result<OwnedFd> {
    step(AT_FDCWD, OsStr::new("/"), OFlag::O_DIRECTORY)
}

fn step(directory: impl AsFd, name: &OsStr, flags: OFlag) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | flags;
    openat(directory, name, flags, Mode::empty())
}

/// Splits a path into its names, without `.`. The first name of an absolute path is `/`.
fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .map(|part| part.as_os_str().to_owned())
        .filter(|part| part != ".")
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{chown, lchown, symlink};

    use super::*;

    fn append(path: &Path) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT;
        open(path, flags, Mode::from_bits_truncate(0o600))
    }

    #[test]
    fn own_links_are_followed_and_missing_files_are_created() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("real")).unwrap();
        symlink("real", at("link")).unwrap();
        symlink("./link/../link/log", at("log")).unwrap();
        append(&at("log")).unwrap();
        assert!(at("real/log").exists());
        append(Path::new("/dev/null")).unwrap();
        assert!(append(&at("real")).is_err());
        let no_follow = OFlag::O_WRONLY | OFlag::O_NOFOLLOW;
        assert!(open(&at("log"), no_follow, Mode::empty()).is_err());
    }

    #[test]
    fn root_follows_no_links_of_others() {
        if !user::is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("etc")).unwrap();
        fs::create_dir(at("site")).unwrap();
        fs::write(at("etc/shadow"), "").unwrap();
        symlink(at("etc/shadow"), at("site/log")).unwrap();
        symlink(at("etc"), at("site/logs")).unwrap();
        fs::hard_link(at("etc/shadow"), at("site/hard")).unwrap();
        for name in ["site/log", "site/logs"] {
            lchown(at(name), Some(12_002), None).unwrap();
        }
        chown(at("site"), Some(12_002), None).unwrap();
        for name in ["site/log", "site/logs/new", "site/hard"] {
            let refusal = append(&at(name)).unwrap_err();
            assert_eq!(refusal.kind(), io::ErrorKind::PermissionDenied, "{name}");
        }
        assert!(!at("etc/new").exists());
        assert!(directory_of(&at("site/logs/fifo")).is_err());
        assert!(unlink(&at("site/logs/shadow")).is_err());
        assert!(at("etc/shadow").exists());
        append(&at("site/plain")).unwrap();
    }
}
