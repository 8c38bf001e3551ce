//! Opens files beneath a directory. No path can lead out of the directory: openat2(2).

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlink};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, stat};

/// Flags for reading. With them, open(2) does not wait for a FIFO or a device, and a terminal does not become the
/// controlling terminal.
const READ: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_CLOEXEC)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY);
/// Flags for a descriptor that only marks a place in the file system.
const PLACE: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);

/// Maximum number of calls of openat2(2). A call fails when any file is renamed during the call.
const ATTEMPTS: u32 = 8;

/// Whether the kernel, or a filter of system calls, has refused openat2(2).
static UNSUPPORTED: AtomicBool = AtomicBool::new(false);

/// How symbolic links on a path are treated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Links {
    /// A path with a symbolic link is an error.
    Refused,
    /// Symbolic links are followed as long as they stay beneath the directory.
    Followed,
}

/// Why a file was not opened.
#[derive(Debug)]
pub enum Refused {
    /// The path has a symbolic link that [`Links`] refuses, or that leads out of the directory.
    Link,
    /// This system has no openat2(2).
    Unsupported,
    /// Another error of open(2).
    Failed(io::Error),
}

/// The kind of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A device, a FIFO or a socket.
    Other,
}

/// The attributes of an open file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// The kind.
    pub kind: Kind,
    /// The size in bytes.
    pub size: u64,
    /// The modification time: seconds since 1970, and nanoseconds.
    pub modified: (i64, u32),
    /// The device and the inode number, which identify the file.
    pub identity: (u64, u64),
}

impl Attributes {
    fn of(stat: &FileStat) -> Self {
        let format = stat.st_mode & SFlag::S_IFMT.bits();
        Self {
            kind: match SFlag::from_bits_truncate(format) {
                SFlag::S_IFREG => Kind::Regular,
                SFlag::S_IFDIR => Kind::Directory,
                _ => Kind::Other,
            },
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (
                stat.st_mtime,
                u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            ),
            identity: (stat.st_dev, stat.st_ino),
        }
    }
}

/// Opens the file at `path`, relative to `directory`, for reading. The kernel refuses every path that leads out of the
/// directory, even if files are renamed meanwhile.
///
/// # Errors
/// See [`Refused`].
pub fn open_beneath(directory: BorrowedFd<'_>, path: &[u8], links: Links) -> Result<File, Refused> {
    if UNSUPPORTED.load(Relaxed) {
        return Err(Refused::Unsupported);
    }
    let mut resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    if links == Links::Refused {
        resolve |= ResolveFlag::RESOLVE_NO_SYMLINKS;
    }
    let how = OpenHow::new().flags(READ).resolve(resolve);
    for _ in 0..ATTEMPTS {
        match openat2(directory, path, how) {
            Ok(fd) => return Ok(fd.into()),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(Errno::ELOOP | Errno::EXDEV) => return Err(Refused::Link),
            // EPERM comes from a filter of system calls that does not know openat2
            Err(Errno::ENOSYS | Errno::EPERM) => {
                UNSUPPORTED.store(true, Relaxed);
                return Err(Refused::Unsupported);
            }
            Err(errno) => return Err(Refused::Failed(errno.into())),
        }
    }
    Err(Refused::Link)
}

/// Opens a place in the file system: a directory for [`open_beneath`], or a file for [`real_path`] and [`reopen`].
/// Nothing can be read from the descriptor. Follows symbolic links, wherever they lead.
///
/// # Errors
/// Those of open(2).
pub fn open_place(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, PLACE, Mode::empty())?)
}

/// Opens a place as [`open_place`] does, for a path that is relative to a directory.
///
/// # Errors
/// Those of open(2).
pub fn open_place_at(directory: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    Ok(openat(directory, path, PLACE, Mode::empty())?)
}

/// Opens a file for reading. Follows symbolic links, wherever they lead.
///
/// # Errors
/// Those of open(2).
pub fn open_file(path: &Path) -> io::Result<File> {
    Ok(open(path, READ, Mode::empty())?.into())
}

/// The present path of an open file, without symbolic links.
///
/// # Errors
/// Those of readlink(2), for example because /proc is not mounted.
pub fn real_path(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let path = readlink(link_to(fd).as_bytes())?;
    Ok(path.into_vec())
}

/// Opens the file behind a descriptor of [`open_place`] for reading. The result is the same file, even if the path now
/// leads to another file.
///
/// # Errors
/// Those of open(2), for example because /proc is not mounted.
pub fn reopen(fd: BorrowedFd<'_>) -> io::Result<File> {
    Ok(open(link_to(fd).as_bytes(), READ, Mode::empty())?.into())
}

fn link_to(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// The attributes of an open file.
///
/// # Errors
/// Those of fstat(2).
pub fn attributes(fd: BorrowedFd<'_>) -> io::Result<Attributes> {
    Ok(Attributes::of(&fstat(fd)?))
}

/// The attributes of the file at a path. Symbolic links are followed.
///
/// # Errors
/// Those of stat(2).
pub fn attributes_of(path: &[u8]) -> io::Result<Attributes> {
    Ok(Attributes::of(&stat(OsStr::from_bytes(path))?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use super::*;

    fn text(mut file: File) -> String {
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn only_files_beneath_the_directory_are_opened() {
        let tree = tempfile::tempdir().unwrap();
        let root = tree.path().join("root");
        fs::create_dir_all(root.join("a")).unwrap();
        fs::write(root.join("a/file"), "inside").unwrap();
        fs::write(tree.path().join("secret"), "outside").unwrap();
        symlink("a/file", root.join("link")).unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink(tree.path().join("root/a/file"), root.join("absolute")).unwrap();
        let place = open_place(&root).unwrap();
        let open = |path: &str, links| open_beneath(place.as_fd(), path.as_bytes(), links);
        match open("a/file", Links::Refused) {
            Ok(file) => assert_eq!(text(file), "inside"),
            // the test cannot run in a sandbox that has no openat2
            Err(Refused::Unsupported) => return,
            Err(error) => panic!("{error:?}"),
        }
        assert!(matches!(open("link", Links::Refused), Err(Refused::Link)));
        assert_eq!(text(open("link", Links::Followed).unwrap()), "inside");
        for path in ["out", "absolute", "../secret", "/etc/passwd"] {
            let refused = open(path, Links::Followed);
            assert!(matches!(refused, Err(Refused::Link)), "{path}");
        }
        assert!(matches!(
            open("none", Links::Followed),
            Err(Refused::Failed(error)) if error.kind() == io::ErrorKind::NotFound
        ));
    }

    #[test]
    fn a_place_is_reopened_after_its_path_has_changed() {
        let tree = tempfile::tempdir().unwrap();
        let path = tree.path().canonicalize().unwrap().join("file");
        fs::write(&path, "first").unwrap();
        let root = open_place(tree.path()).unwrap();
        let place = open_place_at(root.as_fd(), b"file").unwrap();
        assert_eq!(
            real_path(place.as_fd()).unwrap(),
            path.as_os_str().as_bytes()
        );
        fs::rename(&path, tree.path().join("old")).unwrap();
        fs::write(&path, "second").unwrap();
        assert_eq!(text(reopen(place.as_fd()).unwrap()), "first");
        let attributes = attributes(place.as_fd()).unwrap();
        assert_eq!((attributes.kind, attributes.size), (Kind::Regular, 5));
        let now = attributes_of(path.as_os_str().as_bytes()).unwrap();
        assert_ne!(now.identity, attributes.identity);
        assert_eq!(text(open_file(&path).unwrap()), "second");
    }
}
