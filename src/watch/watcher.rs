//! A set of inotify(7) watches, and the events that the kernel reports for them.
//!
//! The crate `notify` is not used, for three reasons; docs/dependencies.md has the figures. Its versions 8.2 and 9.0-rc
//! lose the watch of a file that is replaced while another process still holds the old file open. Its event mask is the
//! same for all paths, so each write (and in 8.2 each open) beside a linked vassal file would wake the emperor. The
//! crate needs a thread with three descriptors.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};

pub use nix::sys::inotify::WatchDescriptor;

/// The kinds of events that a watch reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// For a directory: created, removed and renamed names, and changes of the content and attributes of its files.
    Directory,
    /// For a directory: created, removed and renamed names. Writes to its files are not reported.
    Names,
    /// For a file: changes of its content and its attributes.
    File,
}

impl Scope {
    fn flags(self) -> AddWatchFlags {
        let names = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ONLYDIR;
        let content =
            AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_ATTRIB;
        let own = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
        // with this flag the events are added to the events of an earlier call for the same file, and do not replace
        // them
        let add = AddWatchFlags::from_bits_retain(libc::IN_MASK_ADD);
        own | add
            | match self {
                Scope::Directory => names | content,
                Scope::Names => names,
                Scope::File => content,
            }
    }
}

/// The kind of change that an event reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The file has been created or modified, and its writer may still have it open.
    Writing,
    /// The file is complete: closed after writing, renamed to this name, or its attributes have changed.
    Complete,
    /// The name has been removed or renamed.
    Removed,
    /// The watched file or directory itself has been removed, renamed or unmounted. The watch reports nothing more.
    WatchEnded,
    /// The kernel's queue has overflowed: any watched file may have changed.
    Overflow,
}

/// One event of a watch.
#[derive(Debug, Clone)]
pub struct Event {
    /// The watch that reports the event.
    pub watch: WatchDescriptor,
    /// The name in the watched directory; `None` for the watched file or directory itself.
    pub name: Option<OsString>,
    /// The change.
    pub kind: ChangeKind,
}

/// A set of watches. The descriptor of the set is close-on-exec, and is readable while events are waiting.
#[derive(Debug)]
pub struct Watcher {
    inotify: Inotify,
}

impl Watcher {
    /// Creates an empty set.
    ///
    /// # Errors
    /// Those of inotify_init1(2).
    pub fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        Ok(Self { inotify })
    }

    /// Adds a watch for the file at a path; symbolic links are followed. If the file is watched already, `scope` is
    /// added to its existing watch, whose descriptor is returned.
    ///
    /// # Errors
    /// Those of inotify_add_watch(2).
    pub fn add(&self, path: &Path, scope: Scope) -> io::Result<WatchDescriptor> {
        Ok(self.inotify.add_watch(path, scope.flags())?)
    }

    /// Removes a watch. Ignores a watch that the kernel has already removed.
    pub fn remove(&self, watch: WatchDescriptor) {
        let _ = self.inotify.rm_watch(watch);
    }

    /// Reads the events that have arrived, without waiting; empty if there are none.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn read(&self) -> io::Result<Vec<Event>> {
        match self.inotify.read_events() {
            Ok(events) => Ok(events.into_iter().map(event).collect()),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn event(event: InotifyEvent) -> Event {
    let has = |flag| event.mask.intersects(flag);
    let ended = AddWatchFlags::IN_IGNORED
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_UNMOUNT;
    let kind = if has(AddWatchFlags::IN_Q_OVERFLOW) {
        ChangeKind::Overflow
    } else if has(ended) {
        ChangeKind::WatchEnded
    } else if has(AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM) {
        ChangeKind::Removed
    } else if has(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MODIFY) {
        ChangeKind::Writing
    } else {
        ChangeKind::Complete
    };
    Event {
        watch: event.wd,
        name: event.name,
        kind,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;

    fn kinds(watcher: &Watcher) -> Vec<ChangeKind> {
        let events = watcher.read().unwrap();
        events.iter().map(|event| event.kind).collect()
    }

    #[test]
    fn a_file_is_reported_while_it_is_written_when_it_is_complete_and_when_it_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let watcher = Watcher::new().unwrap();
        watcher.add(directory.path(), Scope::Directory).unwrap();
        fs::write(directory.path().join("a"), "text").unwrap();
        fs::remove_file(directory.path().join("a")).unwrap();
        let kinds = kinds(&watcher);
        assert_eq!(kinds.first(), Some(&ChangeKind::Writing));
        assert!(kinds.contains(&ChangeKind::Complete));
        assert_eq!(kinds.last(), Some(&ChangeKind::Removed));
        assert!(watcher.read().unwrap().is_empty());
    }

    #[test]
    fn writes_to_the_files_of_a_directory_whose_names_are_watched_are_not_reported() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("log"), "").unwrap();
        let watcher = Watcher::new().unwrap();
        watcher.add(directory.path(), Scope::Names).unwrap();
        fs::write(directory.path().join("log"), "line\n").unwrap();
        assert!(watcher.read().unwrap().is_empty());
    }

    #[test]
    fn the_removal_of_a_watched_directory_ends_the_watch() {
        let directory = tempfile::tempdir().unwrap();
        let watcher = Watcher::new().unwrap();
        watcher.add(directory.path(), Scope::Names).unwrap();
        drop(directory);
        assert!(kinds(&watcher).contains(&ChangeKind::WatchEnded));
    }

    #[test]
    fn the_descriptor_is_closed_on_exec() {
        use nix::fcntl::{FcntlArg, FdFlag, fcntl};
        let watcher = Watcher::new().unwrap();
        let flags = fcntl(watcher.as_fd(), FcntlArg::F_GETFD).unwrap();
        assert!(FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC));
    }
}
