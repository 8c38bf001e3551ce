//! Watching files: by events of the kernel (inotify(7)), by comparing stat(2) at intervals, and debouncing the changes.

mod debounce;
mod file_watch;
mod poll_watch;
mod symlinks;
mod watcher;

pub use debounce::{Debounce, Timing};
pub use file_watch::{Change, FileWatch};
pub use poll_watch::PollWatch;
pub use watcher::ChangeKind;
