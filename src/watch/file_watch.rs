//! Watches directories and symbolic links, and maps the kernel's events to the paths of the changed files.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use super::symlinks::names_on_path;
use super::watcher::{ChangeKind, Event, Scope, WatchDescriptor, Watcher};

/// A change of a watched directory or link.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// The file at this path has changed. The path is in a watched directory, or it is a followed link that leads to
    /// the file.
    File(PathBuf, ChangeKind),
    /// The watched directory itself has changed. With [`ChangeKind::WatchEnded`] it was removed, renamed or unmounted;
    /// otherwise its attributes have changed.
    Directory(PathBuf, ChangeKind),
    /// The kernel has lost events, so every watched file may have changed.
    Everything,
}

/// The watched directories and followed links. Subdirectories of a watched directory are not watched.
#[derive(Debug)]
pub struct FileWatch {
    watcher: Watcher,
    uses: HashMap<WatchDescriptor, Uses>,
    /// The watches of each followed link, by the link's path.
    links: HashMap<PathBuf, Vec<WatchDescriptor>>,
}

/// The directories and links that share one watch of the kernel.
#[derive(Debug, Default)]
struct Uses {
    /// The paths by which the watched file was given as a directory to watch.
    directories: Vec<PathBuf>,
    /// The followed links. Each has the name in this directory through which the link is resolved, or `None` if the
    /// watched file is the target of the link.
    links: Vec<(Option<OsString>, PathBuf)>,
}

impl FileWatch {
    /// Creates a set without watches.
    ///
    /// # Errors
    /// Those of inotify_init1(2).
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            watcher: Watcher::new()?,
            uses: HashMap::new(),
            links: HashMap::new(),
        })
    }

    /// Starts to watch a directory. The caller must repeat the call when the directory may have been created or
    /// replaced.
    ///
    /// # Errors
    /// Those of inotify_add_watch(2).
    pub fn watch_directory(&mut self, directory: &Path) -> io::Result<()> {
        let added = self.watcher.add(directory, Scope::Directory);
        for (watch, uses) in &mut self.uses {
            if added.as_ref().is_ok_and(|added| added != watch) {
                uses.directories.retain(|path| path != directory);
            }
        }
        let uses = self.uses.entry(added?).or_default();
        if !uses.directories.iter().any(|path| path == directory) {
            uses.directories.push(directory.to_owned());
        }
        self.remove_unused();
        Ok(())
    }

    /// Stops watching all directories that are not in `kept`.
    pub fn retain_directories(&mut self, kept: &[PathBuf]) {
        for uses in self.uses.values_mut() {
            uses.directories.retain(|path| kept.contains(path));
        }
        self.remove_unused();
    }

    /// Follows the link at `path`: watches every name on the way from the link to its file, and the file itself.
    /// Replaces the watches of an earlier call for the same link. The caller must repeat the call after each change,
    /// because a change may replace any of the links, directories and files.
    ///
    /// # Errors
    /// The first error of inotify_add_watch(2); the remaining names are watched all the same. `ENOENT` is ignored,
    /// because the watch of the directory reports when a missing file is created.
    pub fn follow_link(&mut self, path: &Path) -> io::Result<()> {
        let names = names_on_path(path).into_iter();
        let mut places: Vec<(PathBuf, Scope, Option<OsString>)> = names
            .map(|(directory, name)| (directory, Scope::Names, Some(name)))
            .collect();
        // a watch of a name does not report writes to the file, so the file gets its own watch
        places.push((path.to_owned(), Scope::File, None));
        let mut watches = Vec::new();
        let mut result = Ok(());
        for (place, scope, name) in places {
            match self.watcher.add(&place, scope) {
                Ok(watch) => {
                    let links = &mut self.uses.entry(watch).or_default().links;
                    let link = (name, path.to_owned());
                    if !links.contains(&link) {
                        links.push(link);
                    }
                    watches.push(watch);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => result = result.and(Err(error)),
            }
        }
        let before = self.links.insert(path.to_owned(), watches.clone());
        let old = before.into_iter().flatten();
        self.release(path, old.filter(|watch| !watches.contains(watch)));
        result
    }

    /// Stops following a link.
    pub fn unfollow_link(&mut self, path: &Path) {
        if let Some(watches) = self.links.remove(path) {
            self.release(path, watches.into_iter());
        }
    }

    fn release(&mut self, path: &Path, watches: impl Iterator<Item = WatchDescriptor>) {
        for watch in watches {
            let Some(uses) = self.uses.get_mut(&watch) else {
                continue;
            };
            uses.links.retain(|(_, link)| link != path);
            if uses.are_none() {
                self.uses.remove(&watch);
                self.watcher.remove(watch);
            }
        }
    }

    fn remove_unused(&mut self) {
        for (watch, _) in self.uses.extract_if(|_, uses| uses.are_none()) {
            self.watcher.remove(watch);
        }
    }

    /// Reads the changes that have arrived, without waiting. Call this when the descriptor is readable.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn read(&mut self) -> io::Result<Vec<Change>> {
        let mut changes = Vec::new();
        for event in self.watcher.read()? {
            if event.kind == ChangeKind::Overflow {
                changes.push(Change::Everything);
                continue;
            }
            let Some(uses) = self.uses.get(&event.watch) else {
                continue;
            };
            changes.extend(uses.changes(&event));
            if event.kind == ChangeKind::WatchEnded && event.name.is_none() {
                // after a rename the kernel keeps the watch, so it is removed here
                self.watcher.remove(event.watch);
                self.uses.remove(&event.watch);
            }
        }
        Ok(changes)
    }
}

impl Uses {
    fn are_none(&self) -> bool {
        self.directories.is_empty() && self.links.is_empty()
    }

    fn changes(&self, event: &Event) -> impl Iterator<Item = Change> {
        let name = event.name.as_deref();
        let kind = event.kind;
        let directories = self.directories.iter().map(move |directory| match name {
            Some(name) => {
                let path = directory.join(name);
                let kind = completed(&path, kind);
                Change::File(path, kind)
            }
            None => Change::Directory(directory.clone(), kind),
        });
        let links = self.links.iter();
        let links = links.filter(move |(of, _)| of.is_none() || of.as_deref() == name);
        let links = links.map(move |(_, link)| {
            // the name may now lead to another file; its writer is unknown, so the change counts as complete
            let kind = match kind {
                ChangeKind::Writing if name.is_none() => ChangeKind::Writing,
                _ => ChangeKind::Complete,
            };
            Change::File(link.clone(), kind)
        });
        directories.chain(links)
    }
}

/// Corrects the kind of a change of `path`. A new symbolic link, or a new hard link to an existing file, has no writer
/// to wait for, so its change is complete.
fn completed(path: &Path, kind: ChangeKind) -> ChangeKind {
    use std::os::unix::fs::MetadataExt;
    let has_writer = |path: &Path| {
        path.symlink_metadata()
            .is_ok_and(|it| it.is_file() && it.nlink() == 1)
    };
    match kind {
        ChangeKind::Writing if !has_writer(path) => ChangeKind::Complete,
        _ => kind,
    }
}

impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watcher.as_fd()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn has_changed(files: &mut FileWatch, path: &Path) -> bool {
        let changes = files.read().unwrap();
        changes.contains(&Change::File(path.to_owned(), ChangeKind::Complete))
    }

    #[test]
    fn a_change_behind_a_link_is_a_change_of_the_link() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["vassals", "one", "two"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("one/site.ini"), "1").unwrap();
        fs::write(at("two/site.ini"), "2").unwrap();
        symlink(at("one"), at("current")).unwrap();
        let link = at("vassals/a.ini");
        symlink(at("current/site.ini"), &link).unwrap();
        let mut files = FileWatch::new().unwrap();
        let mut changed = || {
            files.follow_link(&link).unwrap();
            has_changed(&mut files, &link)
        };
        assert!(!changed());
        fs::write(at("one/site.ini"), "3").unwrap();
        assert!(changed());
        fs::write(at("one/new"), "4").unwrap();
        assert!(!changed(), "another file");
        fs::rename(at("one/new"), at("one/site.ini")).unwrap();
        assert!(changed());
        fs::remove_file(at("current")).unwrap();
        symlink(at("two"), at("current")).unwrap();
        assert!(changed());
        files.unfollow_link(&link);
        fs::write(at("two/site.ini"), "5").unwrap();
        assert!(files.read().unwrap().is_empty());
        assert!(files.uses.is_empty());
    }

    #[test]
    fn a_file_is_watched_after_it_was_replaced_while_somebody_holds_the_old_one_open() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("site.ini"), "1").unwrap();
        symlink(at("site.ini"), at("a.ini")).unwrap();
        let mut files = FileWatch::new().unwrap();
        files.follow_link(&at("a.ini")).unwrap();
        let held = fs::File::open(at("site.ini")).unwrap();
        fs::write(at("new"), "2").unwrap();
        fs::rename(at("new"), at("site.ini")).unwrap();
        assert!(has_changed(&mut files, &at("a.ini")));
        files.follow_link(&at("a.ini")).unwrap();
        drop(held);
        files.read().unwrap();
        fs::write(at("site.ini"), "3").unwrap();
        assert!(has_changed(&mut files, &at("a.ini")));
    }

    #[test]
    fn two_links_to_one_file_are_both_reported() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("site.ini"), "1").unwrap();
        let mut files = FileWatch::new().unwrap();
        for name in ["a.ini", "b.ini"] {
            symlink(at("site.ini"), at(name)).unwrap();
            files.follow_link(&at(name)).unwrap();
        }
        fs::write(at("site.ini"), "2").unwrap();
        let changes = files.read().unwrap();
        for name in ["a.ini", "b.ini"] {
            assert!(changes.contains(&Change::File(at(name), ChangeKind::Complete)));
        }
    }

    #[test]
    fn a_directory_that_is_removed_and_created_is_watched_again() {
        let directory = tempfile::tempdir().unwrap();
        let watched = directory.path().join("vassals");
        fs::create_dir(&watched).unwrap();
        let mut files = FileWatch::new().unwrap();
        files.watch_directory(&watched).unwrap();
        fs::remove_dir(&watched).unwrap();
        let ended = Change::Directory(watched.clone(), ChangeKind::WatchEnded);
        assert!(files.read().unwrap().contains(&ended));
        assert!(files.watch_directory(&watched).is_err());
        fs::create_dir(&watched).unwrap();
        files.watch_directory(&watched).unwrap();
        fs::write(watched.join("a.ini"), "").unwrap();
        assert!(has_changed(&mut files, &watched.join("a.ini")));
    }

    #[test]
    fn a_directory_behind_a_link_that_was_moved_is_watched_instead_of_the_old_one() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["one", "two"] {
            fs::create_dir(at(name)).unwrap();
        }
        symlink("one", at("current")).unwrap();
        let mut files = FileWatch::new().unwrap();
        files.watch_directory(&at("current")).unwrap();
        fs::remove_file(at("current")).unwrap();
        symlink("two", at("current")).unwrap();
        files.watch_directory(&at("current")).unwrap();
        files.read().unwrap();
        fs::write(at("one/a.ini"), "").unwrap();
        assert!(files.read().unwrap().is_empty());
        fs::write(at("two/a.ini"), "").unwrap();
        assert!(has_changed(&mut files, &at("current/a.ini")));
        files.retain_directories(&[]);
        assert!(files.uses.is_empty());
    }

    #[test]
    fn a_new_link_is_complete_and_a_new_file_has_a_writer() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("old"), "").unwrap();
        let mut files = FileWatch::new().unwrap();
        files.watch_directory(directory.path()).unwrap();
        symlink("old", at("link")).unwrap();
        assert!(has_changed(&mut files, &at("link")));
        let writer = fs::File::create(at("new")).unwrap();
        assert!(!has_changed(&mut files, &at("new")));
        drop(writer);
        assert!(has_changed(&mut files, &at("new")));
    }
}
