//! The files whose changes raise signals of the application.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::master::watched_path::WatchedPath;
use crate::sys::path_error;
use crate::watch::{ChangeKind, Debounce, FileWatch, PollWatch, Timing};

use super::table::Trigger;

const QUIET: Duration = Duration::from_millis(50);

const TIMING: Timing = Timing {
    quiet: QUIET,
    writing: QUIET,
    removed: QUIET,
    longest: Duration::from_secs(1),
};

/// The watched files.
#[derive(Debug, Default)]
pub(super) struct SignalWatch {
    /// The files that the kernel watches; `None` without such files.
    watched: Option<Watched>,
    /// The files that are compared at intervals (`touch-signal`), each with its signal.
    touched: Vec<(u8, String, PollWatch)>,
}

#[derive(Debug)]
struct Watched {
    files: FileWatch,
    paths: Vec<(u8, WatchedPath)>,
    /// Joins several changes within a short time, so that they raise one signal.
    debounce: Debounce<u8>,
}

impl SignalWatch {
    /// Replaces the watched files. Logs an error for each file that cannot be watched.
    pub(super) fn adopt(&mut self, triggers: &[(u8, Trigger)], now: Instant) {
        let watched = triggers
            .iter()
            .filter_map(|(number, trigger)| match trigger {
                Trigger::Watch(path) => Some((*number, WatchedPath::new(Path::new(path)))),
                _ => None,
            });
        self.watch(watched.collect());
        let mut previous = std::mem::take(&mut self.touched);
        for (number, trigger) in triggers {
            let Trigger::Touch(path) = trigger else {
                continue;
            };
            let known = previous
                .iter()
                .position(|(of, known, _)| (of, known) == (number, path));
            let touched = known.map(|at| previous.swap_remove(at)).unwrap_or_else(|| {
                let mut poll = PollWatch::default();
                poll.watch([path].into_iter(), now);
                (*number, path.clone(), poll)
            });
            self.touched.push(touched);
        }
    }

    fn watch(&mut self, paths: Vec<(u8, WatchedPath)>) {
        if paths.is_empty() {
            self.watched = None;
            return;
        }
        if self.watched.is_none() {
            match FileWatch::new() {
                Ok(files) => {
                    self.watched = Some(Watched {
                        files,
                        paths: Vec::new(),
                        debounce: Debounce::new(TIMING),
                    });
                }
                Err(error) => tracing::error!("signals: files cannot be watched: {error}"),
            }
        }
        if let Some(watched) = &mut self.watched {
            watched.watch(paths);
        }
    }

    /// The descriptor to poll for the kernel's events; `None` if the kernel watches nothing.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.watched.as_ref().map(|watched| watched.files.as_fd())
    }

    /// Reads the kernel's events. [`SignalWatch::due`] returns the signals that the events raise.
    pub(super) fn read(&mut self, now: Instant) {
        let Some(watched) = &mut self.watched else {
            return;
        };
        for change in watched.files.read().unwrap_or_default() {
            for (number, path) in &watched.paths {
                if path.is_changed_by(&change) {
                    let kind = ChangeKind::Complete;
                    watched.debounce.changed(*number, kind, now);
                }
            }
        }
    }

    /// The time at which [`SignalWatch::due`] must be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let watched = self.watched.as_ref().and_then(|it| it.debounce.deadline());
        let touched = self.touched.iter().filter_map(|(_, _, it)| it.deadline());
        touched.chain(watched).min()
    }

    /// The signals of the files that have changed.
    pub(super) fn due(&mut self, now: Instant) -> Vec<u8> {
        let watched = self.watched.as_mut().map(|it| it.debounce.due(now));
        let mut due = watched.unwrap_or_default();
        for (number, _, poll) in &mut self.touched {
            if poll.changed(now).is_some() {
                due.push(*number);
            }
        }
        due
    }
}

impl Watched {
    fn watch(&mut self, paths: Vec<(u8, WatchedPath)>) {
        self.paths.clear();
        for (number, path) in paths {
            match self.files.watch_directory(path.directory()) {
                Ok(()) => self.paths.push((number, path)),
                Err(error) => tracing::error!(
                    "signal {number}: {} cannot be watched: {}",
                    path.shown().display(),
                    path_error::reason(path.directory(), &error)
                ),
            }
        }
        let kept = self
            .paths
            .iter()
            .map(|(_, path)| path.directory().to_owned());
        self.files.retain_directories(&kept.collect::<Vec<_>>());
    }
}
