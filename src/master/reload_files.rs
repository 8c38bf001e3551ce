//! The files whose change requests a reload, or the reopening or rotation of the log.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::watch::PollWatch;

use super::reload_watch::ReloadWatch;
use super::signals::ReloadMode;

/// Minimum time between two checks of the application's files (`py-autoreload`).
const SHORTEST_INTERVAL: Duration = Duration::from_millis(200);

/// The files that the master watches for changes.
#[derive(Debug, Default)]
pub(super) struct ReloadFiles {
    /// Files whose change requests a reload (`touch-reload` and related options).
    touched: PollWatch,
    /// Files whose change reopens the log (`touch-logreopen`).
    logs: PollWatch,
    /// Files whose change rotates the log (`touch-logrotate`).
    rotations: PollWatch,
    /// Files whose change replaces the mules (`touch-mules-reload`).
    mules: PollWatch,
    /// Source files of the application (`py-autoreload`).
    modules: PollWatch,
    /// Files and directories that the kernel watches (`fs-reload`).
    watched: Option<ReloadWatch>,
}

/// The files whose change reopens or rotates the log.
#[derive(Clone, Copy)]
pub(super) struct LogFiles<'a> {
    /// Files whose change reopens the log (`touch-logreopen`).
    pub(super) reopen: &'a [String],
    /// Files whose change rotates the log (`touch-logrotate`).
    pub(super) rotate: &'a [String],
    /// Files whose change replaces the mules (`touch-mules-reload`).
    pub(super) mules: &'a [String],
}

/// A change of a watched file.
#[derive(Debug)]
pub(super) enum FileChange {
    /// The log has to be reopened.
    Log(PathBuf),
    /// The log has to be rotated.
    Rotation(PathBuf),
    /// The mules have to be replaced (`touch-mules-reload`).
    Mules(PathBuf),
    /// A file was touched (`touch-reload`).
    Touched(PathBuf),
    /// A source file of the application has changed (`py-autoreload`).
    Module(PathBuf),
    /// A file or directory has changed (`fs-reload`).
    Watched(PathBuf, ReloadMode),
}

impl ReloadFiles {
    /// Replaces the polled files: `touched` (`touch-reload`) and `logs` (`touch-logreopen`, `touch-logrotate`). A file
    /// that was polled before keeps its recorded state.
    pub(super) fn poll<'a>(
        &mut self,
        touched: impl Iterator<Item = &'a String>,
        logs: LogFiles<'a>,
        now: Instant,
    ) {
        self.touched.watch(touched, now);
        self.logs.watch(logs.reopen.iter(), now);
        self.rotations.watch(logs.rotate.iter(), now);
        self.mules.watch(logs.mules.iter(), now);
    }

    /// Replaces the paths that the kernel watches (`fs-reload`). Logs an error if a path cannot be watched.
    pub(super) fn watch(&mut self, paths: &[(PathBuf, ReloadMode)]) {
        if paths.is_empty() {
            self.watched = None;
        } else if self.watched.is_none() {
            match ReloadWatch::new() {
                Ok(watched) => self.watched = Some(watched),
                Err(error) => tracing::error!("fs-reload: files cannot be watched: {error}"),
            }
        }
        self.rewatch(paths);
    }

    /// Watches the paths of `fs-reload` again, because an update may have replaced their files. Has no effect if no
    /// path is watched.
    pub(super) fn rewatch(&mut self, paths: &[(PathBuf, ReloadMode)]) {
        if let Some(watched) = &mut self.watched {
            watched.watch(paths);
        }
    }

    /// Adds source files that the application read after `since`. A file that was modified after `since` counts as
    /// changed. All source files are checked every `interval` from now on, or every [`SHORTEST_INTERVAL`] if that is
    /// longer.
    pub(super) fn add_modules(
        &mut self,
        files: Vec<String>,
        since: SystemTime,
        interval: Duration,
        now: Instant,
    ) {
        let interval = interval.max(SHORTEST_INTERVAL);
        self.modules.add(files.into_iter(), since, interval, now);
    }

    /// The descriptor to poll for the kernel's events; `None` if the kernel watches nothing.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.watched.as_ref().map(AsFd::as_fd)
    }

    /// Reads the kernel's events. [`ReloadFiles::changes`] returns the changes when they are due.
    pub(super) fn read(&mut self, now: Instant) {
        if let Some(watched) = &mut self.watched {
            watched.read(now);
        }
    }

    /// The time at which [`ReloadFiles::changes`] must be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let watched = self.watched.as_ref().and_then(ReloadWatch::deadline);
        let polled = [
            &self.touched,
            &self.modules,
            &self.logs,
            &self.rotations,
            &self.mules,
        ]
        .map(PollWatch::deadline);
        polled.into_iter().flatten().chain(watched).min()
    }

    /// Takes the changes that are due, at most one of each kind.
    pub(super) fn changes(&mut self, now: Instant) -> Vec<FileChange> {
        let log = self.logs.changed(now).map(FileChange::Log);
        let rotation = self.rotations.changed(now).map(FileChange::Rotation);
        let mules = self.mules.changed(now).map(FileChange::Mules);
        let touched = self.touched.changed(now).map(FileChange::Touched);
        let module = self.modules.changed(now).map(FileChange::Module);
        let watched = self.watched.as_mut().and_then(|it| it.due(now));
        let watched = watched.map(|(path, mode)| FileChange::Watched(path, mode));
        [log, rotation, mules, touched, module, watched]
            .into_iter()
            .flatten()
            .collect()
    }
}
