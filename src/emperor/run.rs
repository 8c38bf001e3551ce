//! The emperor's event loop: waits for signals, messages, connections, file changes and deadlines, and handles each.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::exit;
use crate::log::counted;
use crate::process::stop_signals::StopSignals;
use crate::sys::memory;
use crate::sys::notify::Notify;
use crate::sys::poll::{self, Interest};
use crate::sys::process;
use crate::sys::signal::{Signal, Signals};

use super::control::Control;
use super::file_rules::FileRules;
use super::skipped::Skipped;
use super::source::{Definition, Source};
use super::stamp::Stamp;
use super::statistics::Statistics;
use super::vassal::{Event, Readable, Removal, Scheduled, State};
use super::vassals::Vassals;
use super::watch::VassalWatch;
use crate::watch::{Change, ChangeKind, Debounce};

/// The signals that the emperor handles or ignores; all are blocked and read from a descriptor.
pub(super) const READ: [Signal; 9] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGCHLD,
    Signal::SIGWINCH,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
];

/// Additional time that a stopping emperor waits for stop hooks, after the maximum stop time of its vassals.
const HOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// The state of the emperor's event loop.
pub(super) struct Emperor {
    pub(super) sources: Vec<Source>,
    pub(super) rules: FileRules,
    pub(super) vassals: Vassals,
    pub(super) signals: Signals,
    pub(super) stop_signals: StopSignals,
    pub(super) watch: VassalWatch,
    pub(super) debounce: Debounce<PathBuf>,
    pub(super) control: Option<Control>,
    pub(super) stats: Option<Statistics>,
    pub(super) notify: Notify,
    /// The interval between scans of all sources (`emperor-freq`).
    pub(super) scan_interval: Duration,
    /// Whether a reload of all vassals is in progress, and the service manager waits for its end.
    pub(super) reloading: bool,
    /// Directories that the last scan could not read; each is logged once.
    pub(super) unreadable: Vec<PathBuf>,
    /// The last status line for the service manager.
    pub(super) status: String,
    /// Whether the last status line counted a vassal that starts; true before the first status line.
    pub(super) is_starting: bool,
}

/// The deadlines of the event loop itself.
struct Deadlines {
    next_scan: Instant,
    /// The time at which a stopping emperor exits although stop hooks still run; `None` if the emperor is not stopping.
    exit: Option<Instant>,
}

impl Emperor {
    /// Runs until the emperor is stopped; returns the exit status.
    ///
    /// # Errors
    /// Returns the errors of poll(2), waitid(2), and of reading signals and file changes.
    pub(super) fn run(&mut self) -> io::Result<i32> {
        let mut now = Instant::now();
        let mut deadlines = Deadlines {
            next_scan: now + self.scan_interval,
            exit: None,
        };
        self.scan(now);
        self.vassals.tick(now);
        let count = self.vassals.iter().count() as u64;
        tracing::info!("the emperor has started with {}", counted(count, "vassal"));
        self.notify.ready("starting the vassals");
        loop {
            self.handle_deadlines(&mut deadlines, now);
            if let Some(exit) = deadlines.exit
                && (self.vassals.is_empty() || exit <= now)
            {
                self.vassals.remove_cgroups();
                return Ok(exit::OK);
            }
            self.wait(&deadlines, now)?;
            now = Instant::now();
            self.handle_signals(&mut deadlines, now)?;
        }
    }

    /// Handles expired deadlines, and serves the clients of the control socket and the observer.
    fn handle_deadlines(&mut self, deadlines: &mut Deadlines, now: Instant) {
        if deadlines.exit.is_none() {
            for path in self.debounce.due(now) {
                self.check_file(&path, now);
            }
            if deadlines.next_scan <= now {
                deadlines.next_scan = now + self.scan_interval;
                self.scan(now);
            }
        }
        self.notify.beat(now);
        self.vassals.tick(now);
        if let Some(control) = &mut self.control {
            control.serve(&mut self.vassals, now);
        }
        if let Some(stats) = &self.stats {
            stats.serve(&self.vassals, now);
        }
        self.update_status(deadlines.exit.is_some());
    }

    /// Waits for the next event or deadline, and handles messages, connections and changes of files.
    fn wait(&mut self, deadlines: &Deadlines, now: Instant) -> io::Result<()> {
        let timeout = self.next_deadline(deadlines, now);
        let timeout = timeout.map(|next| next.saturating_duration_since(Instant::now()));
        let mut fds = vec![
            (self.signals.as_fd(), Interest::Read),
            (self.watch.as_fd(), Interest::Read),
        ];
        let first = fds.len();
        let mut owners = Vec::new();
        for (path, readable, fd) in self.vassals.descriptors(now) {
            owners.push((path, readable));
            fds.push((fd, Interest::Read));
        }
        // the descriptors of the control socket and the observer only end the wait; `handle_deadlines` serves the
        // clients
        if let Some(control) = &self.control {
            fds.extend(control.descriptors());
        }
        let stats = self.stats.iter().filter_map(Statistics::descriptor);
        fds.extend(stats.map(|fd| (fd, Interest::Read)));
        let ready = poll::wait_for(&fds, timeout)?;
        let now = Instant::now();
        let owner = |index: &usize| owners.get(index.checked_sub(first)?);
        let readable: Vec<(PathBuf, Readable)> = ready
            .iter()
            .filter_map(owner)
            .map(|(path, readable)| ((*path).to_owned(), *readable))
            .collect();
        for (path, readable) in readable {
            self.vassals.on_readable(&path, readable, now);
        }
        if ready.contains(&1) {
            self.handle_file_changes(deadlines.exit.is_some(), now)?;
        }
        Ok(())
    }

    fn next_deadline(&self, deadlines: &Deadlines, now: Instant) -> Option<Instant> {
        let files = match deadlines.exit {
            Some(_) => None,
            None => self
                .debounce
                .deadline()
                .into_iter()
                .chain([deadlines.next_scan])
                .min(),
        };
        let control = self.control.as_ref();
        let all = [
            files,
            control.and_then(|control| control.deadline()),
            self.vassals.deadline(now),
            self.notify.beat_deadline(),
            deadlines.exit,
        ];
        all.into_iter().flatten().min()
    }

    /// Reads and handles the changes of files. While the emperor stops, the changes have no effect.
    fn handle_file_changes(&mut self, stopping: bool, now: Instant) -> io::Result<()> {
        for change in self.watch.read()? {
            match change {
                _ if stopping => {}
                Change::Everything | Change::Directory(_, ChangeKind::WatchEnded) => {
                    self.scan(now);
                }
                Change::Directory(..) => {}
                Change::File(path, kind) => {
                    let path = self.rules.vassal_file_of(path);
                    if self
                        .sources
                        .iter()
                        .any(|source| source.may_contain(&path, &self.rules))
                    {
                        self.debounce.changed(path, kind, now);
                    }
                }
            }
        }
        Ok(())
    }

    /// Checks all files of all sources.
    fn scan(&mut self, now: Instant) {
        let known = self.vassals.iter().map(|it| it.definition.path.clone());
        let mut gone: BTreeSet<PathBuf> = known.collect();
        let mut found = Vec::new();
        let mut unreadable = Vec::new();
        for source in &self.sources {
            if let Some(directory) = source.directory() {
                self.watch.watch_source(&directory);
            }
            match source.list(&self.rules) {
                Ok(definitions) => found.extend(definitions),
                Err(error) => {
                    let directory = source.directory().unwrap_or_default();
                    if !self.unreadable.contains(&directory) {
                        tracing::error!("{} cannot be read: {error}", directory.display());
                    }
                    // a directory that cannot be read tells nothing about its vassals, so they stay as they are
                    gone.retain(|path| path.parent() != Some(&directory));
                    unreadable.push(directory);
                }
            }
        }
        self.unreadable = unreadable;
        let mut skipped = Vec::new();
        for definition in found {
            match Stamp::of(&definition.file, &self.rules) {
                Ok(stamp) => {
                    gone.remove(&definition.path);
                    self.file_found(definition, stamp, now);
                }
                Err(reason) => skipped.extend(Skipped::new(definition, reason)),
            }
        }
        for path in gone {
            self.file_not_found(&path, now);
        }
        self.vassals.skip_all(skipped);
    }

    /// Checks the file at `path`.
    fn check_file(&mut self, path: &Path, now: Instant) {
        let sources = self.sources.iter();
        let definitions: Vec<Definition> = sources
            .filter_map(|source| source.find(path, &self.rules))
            .collect();
        match Stamp::of(path, &self.rules) {
            Ok(stamp) if !definitions.is_empty() => {
                for definition in definitions {
                    self.file_found(definition, stamp, now);
                }
            }
            stamp => {
                let known = self.vassals.iter().map(|vassal| &vassal.definition);
                let gone = known.filter(|definition| definition.file == path);
                let gone: Vec<PathBuf> = gone.map(|it| it.path.clone()).collect();
                for path in gone {
                    self.file_not_found(&path, now);
                }
                if let Err(reason) = stamp {
                    let skipped = definitions.into_iter();
                    let skipped = skipped.filter_map(|it| Skipped::new(it, reason.clone()));
                    self.vassals.skip_file(path, skipped.collect());
                }
            }
        }
    }

    fn file_found(&mut self, definition: Definition, stamp: Stamp, now: Instant) {
        match stamp.is_link() {
            true => self.watch.follow_link(&definition.file),
            false => self.watch.unfollow_link(&definition.file),
        }
        self.vassals.file_found(definition, stamp, now);
    }

    /// Handles the absence of the file of the vassal with this path.
    fn file_not_found(&mut self, path: &Path, now: Instant) {
        let Some(vassal) = self.vassals.get(path) else {
            return;
        };
        let file = vassal.definition.file.clone();
        match self.vassals.file_not_found(path, now) {
            Removal::Pending => self.debounce.changed(file, ChangeKind::Removed, now),
            Removal::Complete => self.watch.unfollow_link(&file),
            Removal::Known => {}
        }
    }

    fn handle_signals(&mut self, deadlines: &mut Deadlines, now: Instant) -> io::Result<()> {
        while let Some(signal) = self.signals.take()? {
            match signal {
                Signal::SIGCHLD => {
                    while let Some(end) = process::reap()? {
                        self.vassals.on_exit(end.pid, end.exit, now);
                    }
                }
                Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT
                    if self.stop_signals.is_same_request(now) => {}
                Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT => self.stop(deadlines, now),
                Signal::SIGHUP if deadlines.exit.is_none() => {
                    tracing::info!("reloading all vassals, a few at a time");
                    self.notify.reloading();
                    self.vassals.apply_to_all(|| Event::Reload, now);
                    self.reloading = true;
                }
                Signal::SIGWINCH if deadlines.exit.is_none() => self.scan(now),
                Signal::SIGUSR1 => self.log_status(now),
                _ => {}
            }
        }
        Ok(())
    }

    /// Begins a graceful stop of all vassals. A second call stops them at once.
    fn stop(&mut self, deadlines: &mut Deadlines, now: Instant) {
        if deadlines.exit.is_some() {
            tracing::warn!("stopping at once, after a second signal");
            self.vassals.apply_to_all(|| Event::StopNow, now);
            return;
        }
        tracing::info!("stopping all vassals, which finish their requests first");
        self.notify.stopping();
        self.reloading = false;
        self.vassals.self_status.stopping = true;
        self.vassals.apply_to_all(|| Event::EmperorStops, now);
        deadlines.exit = Some(now + self.vassals.max_stop_time() + HOOK_TIMEOUT);
    }

    /// Sends the status line to the service manager if it has changed, and reports the end of a reload of all vassals.
    fn update_status(&mut self, stopping: bool) {
        let mut counts = [0_u64; 5];
        for vassal in self.vassals.iter() {
            counts[match vassal.state {
                State::Ready(_) => 0,
                State::Starting(_) | State::Scheduled(Scheduled { failures: 0, .. }) => 1,
                State::Stopped | State::Stopping(_) | State::Gone => 2,
                State::Scheduled(_) | State::Refused => 3,
                State::OnDemand => 4,
            }] += 1;
        }
        let [ready, starting, stopped, failed, on_demand] = counts;
        let all: u64 = counts.iter().sum();
        let status = match stopping {
            true => format!("stopping: {} left", counted(all, "vassal")),
            false => format!(
                "{}: {ready} ready, {on_demand} on demand, {starting} starting, {failed} failed, {stopped} stopped",
                counted(all, "vassal")
            ),
        };
        if self.reloading
            && !self
                .vassals
                .iter()
                .any(|vassal| vassal.state.is_reloading())
        {
            self.reloading = false;
            self.notify.ready(&status);
        } else if status != self.status {
            self.notify.status(&status);
        }
        if self.is_starting && starting == 0 && !stopping {
            memory::release_code();
        }
        self.is_starting = starting > 0;
        self.status = status;
    }

    /// Logs the status line and the state of each vassal.
    fn log_status(&self, now: Instant) {
        tracing::info!("{}", self.status);
        for vassal in self.vassals.iter() {
            tracing::info!("{}", vassal.log_line(now));
        }
    }
}
