//! File watching: changes reported by the kernel, changes found by stat(2), and the debouncing of both.

mod debounce;
mod file_watch;
mod poll_watch;
mod symlinks;
mod watcher;

pub use debounce::{Debounce, Timing};
pub use file_watch::{Change, FileWatch};
pub use poll_watch::PollWatch;
pub use watcher::ChangeKind;
