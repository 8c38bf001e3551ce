//! Being told of changes to files: inotify(7).
//!
//! The kernel's own interface and not a crate on top of it: those that watch for other systems too bring a thread and
//! channels along, while the emperor is one thread that waits in one place and stays small.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify as Kernel, InotifyEvent};

pub use nix::sys::inotify::WatchDescriptor;

/// How much of a directory or file is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// A directory: its names and the content of its files.
    Everything,
    /// A directory: names that come, go or change their file.
    Names,
    /// A file: its content and its attributes.
    Content,
}

impl Extent {
    fn flags(self) -> AddWatchFlags {
        let names = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        let content =
            AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_ATTRIB;
        // what is watched already for another reason stays watched for that too
        let add = AddWatchFlags::from_bits_retain(libc::IN_MASK_ADD);
        match self {
            Extent::Everything => names | content | add,
            Extent::Names => names | add,
            Extent::Content => {
                content | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF | add
            }
        }
    }
}

/// What became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file is being written, and not closed yet.
    Begun,
    /// A file is whole: closed after writing, moved in, or its attributes have changed.
    Whole,
    /// A name is gone.
    Gone,
    /// What was watched is itself gone; nothing more is told of it.
    Ended,
    /// Events were lost: everything has to be looked at.
    Lost,
}

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Which watch told it.
    pub watch: WatchDescriptor,
    /// The name in the watched directory.
    pub name: Option<OsString>,
    /// What became known.
    pub kind: Kind,
}

/// A set of watches.
#[derive(Debug)]
pub struct Inotify {
    kernel: Kernel,
}

impl Inotify {
    /// An empty set.
    ///
    /// # Errors
    /// Those of inotify_init1(2).
    pub fn new() -> io::Result<Self> {
        let kernel = Kernel::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        Ok(Self { kernel })
    }

    /// Watches a path, a symbolic link's target for the link; the same file always has the same descriptor.
    ///
    /// # Errors
    /// Those of inotify_add_watch(2).
    pub fn add(&self, path: &Path, extent: Extent) -> io::Result<WatchDescriptor> {
        Ok(self.kernel.add_watch(path, extent.flags())?)
    }

    /// Watches it no longer; that it is gone already is no error.
    pub fn remove(&self, watch: WatchDescriptor) {
        let _ = self.kernel.rm_watch(watch);
    }

    /// The events that have arrived.
    ///
    /// # Errors
    /// Those of read(2), but not that there are none.
    pub fn take(&self) -> io::Result<Vec<Event>> {
        match self.kernel.read_events() {
            Ok(events) => Ok(events.into_iter().map(read).collect()),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kernel.as_fd()
    }
}

fn read(event: InotifyEvent) -> Event {
    let has = |flag| event.mask.intersects(flag);
    let kind = if has(AddWatchFlags::IN_Q_OVERFLOW) {
        Kind::Lost
    } else if has(AddWatchFlags::IN_IGNORED
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_UNMOUNT)
    {
        Kind::Ended
    } else if has(AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM) {
        Kind::Gone
    } else if has(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MODIFY) {
        Kind::Begun
    } else {
        Kind::Whole
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

    #[test]
    fn a_file_that_is_written_begins_and_becomes_whole() {
        let directory = tempfile::tempdir().unwrap();
        let inotify = Inotify::new().unwrap();
        inotify.add(directory.path(), Extent::Everything).unwrap();
        fs::write(directory.path().join("a"), "text").unwrap();
        fs::remove_file(directory.path().join("a")).unwrap();
        let kinds: Vec<Kind> = inotify
            .take()
            .unwrap()
            .iter()
            .map(|event| event.kind)
            .collect();
        assert_eq!(kinds.first(), Some(&Kind::Begun));
        assert!(kinds.contains(&Kind::Whole));
        assert_eq!(kinds.last(), Some(&Kind::Gone));
        assert!(inotify.take().unwrap().is_empty());
    }

    #[test]
    fn a_directory_that_goes_is_told_once_and_for_all() {
        let directory = tempfile::tempdir().unwrap();
        let inotify = Inotify::new().unwrap();
        inotify.add(directory.path(), Extent::Names).unwrap();
        drop(directory);
        assert!(
            inotify
                .take()
                .unwrap()
                .iter()
                .any(|event| event.kind == Kind::Ended)
        );
    }
}
