//! Watches files, by events of the kernel (inotify(7)) or by comparing stat(2) at intervals, and joins changes that
//! follow each other.

mod debounce;
mod file_watch;
mod poll_watch;
mod symlinks;
mod watcher;

pub use debounce::{Debounce, Timing};
pub use file_watch::{Change, FileWatch};
pub use poll_watch::PollWatch;
pub use watcher::ChangeKind;
