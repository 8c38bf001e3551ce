//! A directory or a file of the configuration. Opens the files below it.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;

use super::relative::Relative;
use crate::sys::beneath::{self, Attributes, Kind, Links, Refused};
use crate::sys::clock::monotonic_micros;
use crate::sys::private_fd::PrivateFd;

/// Time for which an open directory is used without a check of its path, microseconds. The check finds out whether the
/// path still leads to this directory.
const FRESH_US: u64 = 1_000_000;
/// The same time for a request whose file is not in the directory.
const FRESH_FOR_MISS_US: u64 = 50_000;

/// A directory or a file of the configuration. It may be missing, and it may be replaced at any time.
pub struct Root {
    path: PathBuf,
    open: Mutex<Option<Arc<Place>>>,
}

/// The open directory or file of a root.
pub struct Place {
    fd: PrivateFd,
    kind: Kind,
    identity: (u64, u64),
    /// The path of the root without symbolic links.
    real: Vec<u8>,
    /// The time at which the path was last known to lead to this place, microseconds of the monotonic clock.
    checked_us: AtomicU64,
}

/// An open file.
pub struct Opened {
    /// The file.
    pub file: File,
    /// The attributes of the file.
    pub attributes: Attributes,
    name: Name,
}

/// The path of an open file, in one of two forms.
enum Name {
    /// The path relative to the root. No part of it is a symbolic link.
    Below(Vec<u8>),
    /// The absolute path, with all symbolic links resolved.
    Real(Vec<u8>),
}

/// Why no file was opened.
#[derive(Debug)]
pub enum Absent {
    /// The root has no such file.
    Missing,
    /// The path leads to this file, which is outside of the root and of the permitted directories.
    Outside(Vec<u8>),
    /// The file cannot be opened.
    Failed(io::Error),
}

impl Opened {
    /// The absolute path of the file, without symbolic links.
    pub fn real_path(&self, place: &Place) -> Cow<'_, [u8]> {
        match &self.name {
            Name::Real(path) => Cow::Borrowed(path),
            Name::Below(path) if path == b"." => Cow::Owned(place.real.clone()),
            Name::Below(path) => Cow::Owned([&place.real, &b"/"[..], path].concat()),
        }
    }

    /// A path of the file that ends with the file's real name.
    pub fn name(&self) -> &[u8] {
        match &self.name {
            Name::Below(path) | Name::Real(path) => path,
        }
    }
}

impl Root {
    /// Creates a root for an absolute path. Opens nothing.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            open: Mutex::default(),
        }
    }

    /// The absolute path in the configuration.
    #[cfg(test)]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The open directory or file of the root; `None` if its path has no file.
    pub fn place(&self) -> Option<Arc<Place>> {
        self.checked(FRESH_US)
    }

    /// Checks again where the path leads, after a file was not found in `place`. Returns the new place; `None` if the
    /// path still leads to `place`, or leads to no file.
    pub fn moved(&self, place: &Arc<Place>) -> Option<Arc<Place>> {
        let now = self.checked(FRESH_FOR_MISS_US)?;
        (!Arc::ptr_eq(&now, place)).then_some(now)
    }

    fn checked(&self, fresh_us: u64) -> Option<Arc<Place>> {
        let now = monotonic_micros();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = &*open {
            if now.saturating_sub(place.checked_us.load(Relaxed)) < fresh_us {
                return Some(place.clone());
            }
            let there = beneath::attributes_of(self.path.as_os_str().as_bytes());
            if there.is_ok_and(|there| there.identity == place.identity) {
                place.checked_us.store(now, Relaxed);
                return Some(place.clone());
            }
        }
        *open = self.open_place(now).ok().map(Arc::new);
        open.clone()
    }

    fn open_place(&self, now: u64) -> io::Result<Place> {
        let fd = beneath::open_place(&self.path)?;
        let attributes = beneath::attributes(fd.as_fd())?;
        let real = beneath::real_path(fd.as_fd());
        Ok(Place {
            kind: attributes.kind,
            identity: attributes.identity,
            // if /proc is not mounted, the configured path is used
            real: real.unwrap_or_else(|_| self.path.as_os_str().as_bytes().to_vec()),
            checked_us: AtomicU64::new(now),
            fd: fd.into(),
        })
    }

    /// Opens a file below the root, or the root itself if it is a file.
    pub fn open(&self, place: &Place, path: &Relative, safe: &[Vec<u8>]) -> Result<Opened, Absent> {
        if place.kind == Kind::Directory {
            return place.open(path.as_bytes(), safe);
        }
        if !path.is_root() || path.names_directory() {
            return Err(Absent::Missing);
        }
        let file = beneath::open_file(&self.path).map_err(absent)?;
        opened(file, Name::Real(place.real.clone()))
    }
}

impl Place {
    /// The path of the root without symbolic links.
    pub fn real(&self) -> &[u8] {
        &self.real
    }

    /// Opens the file at a relative path. The kernel opens only files beneath the directory. If the path has links that
    /// lead out of the directory, or absolute links, it is resolved without this limit. The result must then be in a
    /// permitted directory, which is checked before the file is read.
    fn open(&self, path: &[u8], safe: &[Vec<u8>]) -> Result<Opened, Absent> {
        match beneath::open_beneath(self.fd.as_fd(), path, Links::Refused) {
            Ok(file) => return opened(file, Name::Below(path.to_vec())),
            Err(Refused::Failed(error)) => return Err(absent(error)),
            Err(Refused::Unsupported) => return self.open_checked(path, safe),
            Err(Refused::Link) => {}
        }
        match beneath::open_beneath(self.fd.as_fd(), path, Links::Followed) {
            Ok(file) => {
                let real = beneath::real_path(file.as_fd()).map_err(absent)?;
                opened(file, Name::Real(real))
            }
            Err(Refused::Failed(error)) => Err(absent(error)),
            Err(Refused::Link | Refused::Unsupported) => self.open_checked(path, safe),
        }
    }

    fn open_checked(&self, path: &[u8], safe: &[Vec<u8>]) -> Result<Opened, Absent> {
        let end = beneath::open_place_at(self.fd.as_fd(), path).map_err(absent)?;
        let real = beneath::real_path(end.as_fd()).map_err(absent)?;
        let is_permitted = is_below(&real, &self.real) || safe.iter().any(|it| is_below(&real, it));
        if !is_permitted {
            return Err(Absent::Outside(real));
        }
        // a FIFO or a device is not opened, because nothing is read from it
        if beneath::attributes(end.as_fd()).map_err(absent)?.kind == Kind::Other {
            return Err(Absent::Missing);
        }
        let file = beneath::reopen(end.as_fd()).map_err(absent)?;
        opened(file, Name::Real(real))
    }

    /// Opens a file in the directory of an open file. Its name is the name of the open file with `suffix` appended.
    pub fn open_beside(
        &self,
        opened: &Opened,
        suffix: &[u8],
        safe: &[Vec<u8>],
    ) -> Result<Opened, Absent> {
        match &opened.name {
            Name::Below(path) if self.kind == Kind::Directory => {
                self.open(&[path, suffix].concat(), safe)
            }
            // an absolute path needs this way: openat(2) would ignore the directory, and openat2(2) would refuse the
            // path
            _ => self.open_checked(&[&opened.real_path(self), suffix].concat(), safe),
        }
    }
}

fn opened(file: File, name: Name) -> Result<Opened, Absent> {
    let attributes = beneath::attributes(file.as_fd()).map_err(absent)?;
    Ok(Opened {
        file,
        attributes,
        name,
    })
}

/// Converts the error of a call that opens a file.
fn absent(error: io::Error) -> Absent {
    match error.raw_os_error().map(Errno::from_raw) {
        // ENXIO means that the file is a socket, EINVAL that no file can have this path
        Some(
            Errno::ENOENT
            | Errno::ENOTDIR
            | Errno::ENAMETOOLONG
            | Errno::ELOOP
            | Errno::ENXIO
            | Errno::EINVAL,
        ) => Absent::Missing,
        _ => Absent::Failed(error),
    }
}

/// Whether the absolute path is the directory, or is below the directory.
fn is_below(path: &[u8], directory: &[u8]) -> bool {
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    fn text(root: &Root, path: &str, safe: &[Vec<u8>]) -> Result<String, Absent> {
        let place = root.place().ok_or(Absent::Missing)?;
        let relative = Relative::of(path.as_bytes()).unwrap();
        let mut opened = root.open(&place, &relative, safe)?;
        let mut text = String::new();
        if opened.attributes.kind == Kind::Regular {
            opened.file.read_to_string(&mut text).unwrap();
        }
        Ok(text)
    }

    #[test]
    fn links_are_followed_inside_and_into_safe_directories() {
        let tree = tempfile::tempdir().unwrap();
        let base = tree.path().canonicalize().unwrap();
        for directory in ["root/a", "safe", "safely"] {
            fs::create_dir_all(base.join(directory)).unwrap();
        }
        fs::write(base.join("root/a/in"), "in").unwrap();
        fs::write(base.join("safe/s"), "safe").unwrap();
        fs::write(base.join("safely/t"), "other").unwrap();
        symlink("a/in", base.join("root/relative")).unwrap();
        symlink(base.join("root/a/in"), base.join("root/absolute")).unwrap();
        symlink("../safe", base.join("root/directory")).unwrap();
        symlink("../safely/t", base.join("root/out")).unwrap();
        symlink("/proc/self/root", base.join("root/magic")).unwrap();
        let root = Root::new(base.join("root"));
        let safe = vec![base.join("safe").as_os_str().as_bytes().to_vec()];
        for path in ["/a/in", "/relative", "/absolute"] {
            assert_eq!(text(&root, path, &[]).unwrap(), "in", "{path}");
        }
        assert_eq!(text(&root, "/directory/s", &safe).unwrap(), "safe");
        for (path, safe) in [
            ("/directory/s", &[][..]),
            ("/out", &safe),
            ("/magic/etc/passwd", &safe),
        ] {
            let found = text(&root, path, safe);
            assert!(
                matches!(found, Err(Absent::Outside(_))),
                "{path}: {found:?}"
            );
        }
        for path in ["/none", "/a/in/x", "/a/in/"] {
            let found = text(&root, path, &[]);
            let is_file = path == "/a/in/" && found.is_ok();
            assert!(is_file || matches!(found, Err(Absent::Missing)), "{path}");
        }
    }

    #[test]
    fn a_root_that_appears_or_is_replaced_is_found() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path().join("root"));
        assert!(root.place().is_none());
        fs::create_dir(tree.path().join("root")).unwrap();
        fs::write(tree.path().join("root/a"), "old").unwrap();
        assert_eq!(text(&root, "/a", &[]).unwrap(), "old");
        let place = root.place().unwrap();
        assert!(root.moved(&place).is_none());
        fs::rename(tree.path().join("root"), tree.path().join("before")).unwrap();
        fs::create_dir(tree.path().join("root")).unwrap();
        fs::write(tree.path().join("root/a"), "new").unwrap();
        place.checked_us.store(0, Relaxed);
        assert!(root.moved(&place).is_some());
        assert_eq!(text(&root, "/a", &[]).unwrap(), "new");
    }

    #[test]
    fn a_root_may_be_a_file() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path().join("favicon.ico"));
        fs::write(tree.path().join("favicon.ico"), "icon").unwrap();
        assert_eq!(text(&root, "", &[]).unwrap(), "icon");
        for path in ["/", "/x"] {
            assert!(matches!(text(&root, path, &[]), Err(Absent::Missing)));
        }
    }

    #[test]
    fn a_path_is_below_a_directory_at_a_slash() {
        assert!(is_below(b"/a/b", b"/a") && is_below(b"/a", b"/a/") && is_below(b"/x", b"/"));
        assert!(!is_below(b"/ab", b"/a") && !is_below(b"/", b"/a"));
    }
}
