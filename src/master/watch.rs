//! Files and directories whose change is told by the kernel (`fs-reload`, `fs-brutal-reload`).

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::sys::inotify::{Extent, Inotify, Kind, WatchDescriptor};

use super::signals::ReloadMode;

/// It has to be quiet for so long before a change counts: an editor or a copy does several things.
const QUIET: Duration = Duration::from_millis(100);
/// A change counts after this time, quiet or not.
const LONGEST: Duration = Duration::from_secs(2);

/// The watched places.
#[derive(Debug)]
pub(super) struct Watched {
    kernel: Inotify,
    places: HashMap<WatchDescriptor, Vec<Place>>,
    changed: Option<Changed>,
}

/// A directory, or a name in one.
#[derive(Debug, Clone)]
struct Place {
    directory: PathBuf,
    /// `None`: every name.
    name: Option<OsString>,
    manner: ReloadMode,
}

/// A change that does not count yet.
#[derive(Debug)]
struct Changed {
    path: PathBuf,
    manner: ReloadMode,
    first: Instant,
    last: Instant,
}

impl Watched {
    /// Nothing is watched yet.
    ///
    /// # Errors
    /// Those of inotify_init1(2).
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            kernel: Inotify::new()?,
            places: HashMap::new(),
            changed: None,
        })
    }

    /// Watches these paths from now on, and no others. One that is not there is told of in the log.
    pub(super) fn watch(&mut self, paths: &[(PathBuf, ReloadMode)]) {
        let before = std::mem::take(&mut self.places);
        for (path, manner) in paths {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            let (directory, name) = match (path.is_dir(), path.parent(), path.file_name()) {
                (false, Some(parent), Some(name)) => (parent.to_owned(), Some(name.to_owned())),
                _ => (path.clone(), None),
            };
            match self.kernel.add(&directory, Extent::Everything) {
                Ok(watch) => self.places.entry(watch).or_default().push(Place {
                    directory,
                    name,
                    manner: *manner,
                }),
                Err(error) => {
                    let shown = path.display();
                    tracing::error!("{shown} cannot be watched (fs-reload): {error}");
                }
            }
        }
        for watch in before.into_keys() {
            if !self.places.contains_key(&watch) {
                self.kernel.remove(watch);
            }
        }
    }

    /// Hears of changes; call when the descriptor is readable.
    pub(super) fn hear(&mut self, now: Instant) {
        for event in self.kernel.take().unwrap_or_default() {
            if event.kind == Kind::Lost {
                let places: Vec<Place> = self.places.values().flatten().cloned().collect();
                for place in places {
                    self.note(&place, None, now);
                }
                continue;
            }
            let places = self.places.get(&event.watch).cloned().unwrap_or_default();
            for place in places.iter().filter(|it| it.means(event.name.as_deref())) {
                self.note(place, event.name.as_deref(), now);
            }
            if event.kind == Kind::Ended {
                self.places.remove(&event.watch);
            }
        }
    }

    fn note(&mut self, place: &Place, name: Option<&OsStr>, now: Instant) {
        let path = match name {
            Some(name) => place.directory.join(name),
            None => place.directory.clone(),
        };
        match &mut self.changed {
            Some(changed) => {
                changed.manner = changed.manner.max(place.manner);
                changed.last = now;
            }
            None => {
                self.changed = Some(Changed {
                    path,
                    manner: place.manner,
                    first: now,
                    last: now,
                });
            }
        }
    }

    /// When [`Watched::due`] has something to say.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let changed = self.changed.as_ref()?;
        Some((changed.last + QUIET).min(changed.first + LONGEST))
    }

    /// A change that counts now.
    pub(super) fn due(&mut self, now: Instant) -> Option<(PathBuf, ReloadMode)> {
        self.deadline().filter(|due| *due <= now)?;
        let changed = self.changed.take()?;
        Some((changed.path, changed.manner))
    }
}

impl Place {
    /// Whether a change of this name counts. In a directory, what Python, its tools and editors leave beside the
    /// sources does not.
    fn means(&self, name: Option<&OsStr>) -> bool {
        match (&self.name, name) {
            (Some(own), Some(name)) => own == name,
            (Some(_), None) => true,
            (None, Some(name)) => !is_aside(name),
            (None, None) => true,
        }
    }
}

fn is_aside(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    let compiled = Path::new(name)
        .extension()
        .is_some_and(|it| it.as_bytes().starts_with(b"pyc"));
    bytes == b"__pycache__" || compiled || bytes.starts_with(b".") || bytes.ends_with(b"~")
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kernel.as_fd()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;

    /// What counts of what has happened until now.
    fn heard(watched: &mut Watched) -> Option<(PathBuf, ReloadMode)> {
        let now = Instant::now();
        watched.hear(now);
        assert!(watched.due(now).is_none(), "it has to be quiet first");
        watched.due(now + QUIET)
    }

    #[test]
    fn a_change_in_a_directory_counts_unless_it_is_python_s_own() {
        let dir = tempfile::tempdir().unwrap();
        let mut watched = Watched::new().unwrap();
        watched.watch(&[(dir.path().to_owned(), ReloadMode::Graceful)]);
        assert_eq!(heard(&mut watched), None);
        fs::create_dir(dir.path().join("__pycache__")).unwrap();
        fs::write(dir.path().join(".app.py.swp"), "").unwrap();
        fs::write(dir.path().join("app.py~"), "").unwrap();
        fs::write(dir.path().join("app.pyc"), "").unwrap();
        assert_eq!(heard(&mut watched), None);
        let path = dir.path().join("app.py");
        fs::write(&path, "x = 1").unwrap();
        assert_eq!(heard(&mut watched), Some((path, ReloadMode::Graceful)));
        assert_eq!(heard(&mut watched), None);
    }

    #[test]
    fn a_file_that_is_replaced_counts_and_its_neighbours_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings");
        fs::write(&path, "1").unwrap();
        let mut watched = Watched::new().unwrap();
        watched.watch(&[(path.clone(), ReloadMode::Brutal)]);
        fs::write(dir.path().join("beside"), "1").unwrap();
        assert_eq!(heard(&mut watched), None);
        fs::rename(dir.path().join("beside"), &path).unwrap();
        assert_eq!(heard(&mut watched), Some((path, ReloadMode::Brutal)));
        watched.watch(&[]);
        fs::write(dir.path().join("settings"), "2").unwrap();
        assert_eq!(heard(&mut watched), None);
    }
}
