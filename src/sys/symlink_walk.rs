//! The way that a path leads, step by step: which file it is, and whose symbolic links lead there.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

/// The most links that a path may lead over, as in the kernel.
const MOST_LINKS: usize = 40;

/// Where a path leads.
pub struct Way {
    /// The file at its end.
    pub file: FileStat,
    /// The owners of the links that lead there, those among its directories too.
    pub guides: Vec<u32>,
}

/// Follows an absolute path. Each step is taken from the very link or directory that was looked at: one that is
/// exchanged meanwhile leads to the old place or to the new one, and the owners are those of that way.
///
/// # Errors
/// Those of openat(2).
pub fn follow(path: &Path) -> io::Result<Way> {
    let root = || step(Path::new("/"), None);
    let mut here = root()?;
    let mut file = fstat(&here)?;
    let mut guides = Vec::new();
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
        guides.push(file.st_uid);
        let target = readlinkat(&next, "")?;
        // a link in /proc to what has no path
        if guides.len() > MOST_LINKS || target.as_bytes().is_empty() {
            return Err(Errno::ELOOP.into());
        }
        for part in parts(Path::new(&target)).rev() {
            rest.push_front(part);
        }
    }
    Ok(Way { file, guides })
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
    fn every_link_on_the_way_is_named_by_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("releases/7")).unwrap();
        fs::write(root.join("releases/7/site.ini"), "").unwrap();
        symlink("releases/7", root.join("current")).unwrap();
        symlink("./releases/../current/site.ini", root.join("a.ini")).unwrap();
        let file = fs::metadata(root.join("releases/7/site.ini")).unwrap();
        let mut guides = vec![file.uid(); 2];
        if nix::unistd::geteuid().is_root() {
            lchown(root.join("current"), Some(12_002), None).unwrap();
            guides[1] = 12_002;
        }
        let way = follow(&root.join("a.ini")).unwrap();
        assert_eq!((way.file.st_ino, way.guides), (file.ino(), guides));
        let straight = follow(&root.join("releases/7/site.ini")).unwrap();
        assert_eq!(
            (straight.file.st_ino, straight.guides.len()),
            (file.ino(), 0)
        );
    }

    #[test]
    fn circles_and_what_is_missing_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        symlink("b", directory.path().join("a")).unwrap();
        symlink("a", directory.path().join("b")).unwrap();
        assert!(follow(&directory.path().join("a")).is_err());
        assert!(follow(&directory.path().join("c")).is_err());
    }
}
