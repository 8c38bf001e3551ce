//! Resolves a path step by step, to learn who owns the symbolic links on the path: path_resolution(7).

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

/// Maximum symbolic links in a path, as in the kernel.
const MAX_LINKS: usize = 40;

/// The result of [`follow`].
pub struct Walk {
    /// The file to which the path leads.
    pub file: FileStat,
    /// The owners (uid) of all symbolic links on the path, in the order in which they were followed. This includes
    /// links to directories.
    pub link_owners: Vec<u32>,
}

/// Resolves an absolute path, and returns its file and the owners of the links on it.
///
/// Each step starts at the open descriptor of the link or directory that the previous step examined. If a link is
/// replaced meanwhile, the result is consistent: the file and the owners belong to the same path, old or new.
///
/// # Errors
/// Those of openat(2); `ELOOP` for too many links.
pub fn follow(path: &Path) -> io::Result<Walk> {
    let root = || step(Path::new("/"), None);
    let mut here = root()?;
    let mut file = fstat(&here)?;
    let mut link_owners = Vec::new();
    let mut rest: VecDeque<PathBuf> = parts(path).collect();
    while let Some(part) = rest.pop_front() {
        if part == Path::new("/") {
            here = root()?;
            file = fstat(&here)?;
            continue;
        }
        let next = step(&part, Some(&here))?;
        file = fstat(&next)?;
        if file.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFLNK.bits() {
            here = next;
            continue;
        }
        link_owners.push(file.st_uid);
        let target = readlinkat(&next, "")?;
        // the kernel itself resolves some links in /proc, and such a link may lead to a file without a path, such as a
        // pipe
        if link_owners.len() > MAX_LINKS || target.as_bytes().is_empty() {
            return Err(Errno::ELOOP.into());
        }
        for part in parts(Path::new(&target)).rev() {
            rest.push_front(part);
        }
    }
    Ok(Walk { file, link_owners })
}

fn step(name: &Path, from: Option<&OwnedFd>) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let opened = match from {
        Some(directory) => openat(directory, name, flags, Mode::empty()),
        None => openat(AT_FDCWD, name, flags, Mode::empty()),
    };
    Ok(opened?)
}

fn parts(path: &Path) -> impl DoubleEndedIterator<Item = PathBuf> + '_ {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    parts.map(|part| PathBuf::from(part.as_os_str()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, lchown, symlink};

    use super::*;

    #[test]
    fn the_owner_of_every_link_on_the_path_is_returned() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("releases/7")).unwrap();
        fs::write(root.join("releases/7/site.ini"), "").unwrap();
        symlink("releases/7", root.join("current")).unwrap();
        symlink("./releases/../current/site.ini", root.join("a.ini")).unwrap();
        let file = fs::metadata(root.join("releases/7/site.ini")).unwrap();
        let mut owners = vec![file.uid(); 2];
        if nix::unistd::geteuid().is_root() {
            lchown(root.join("current"), Some(12_002), None).unwrap();
            owners[1] = 12_002;
        }
        let walk = follow(&root.join("a.ini")).unwrap();
        assert_eq!((walk.file.st_ino, walk.link_owners), (file.ino(), owners));
        let straight = follow(&root.join("releases/7/site.ini")).unwrap();
        assert_eq!(
            (straight.file.st_ino, straight.link_owners.len()),
            (file.ino(), 0)
        );
    }

    #[test]
    fn circular_links_and_missing_files_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        symlink("b", directory.path().join("a")).unwrap();
        symlink("a", directory.path().join("b")).unwrap();
        assert!(follow(&directory.path().join("a")).is_err());
        assert!(follow(&directory.path().join("c")).is_err());
    }
}
