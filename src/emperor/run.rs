//! The emperor's loop: it waits in one place, hears what happened, and has the vassals started, reloaded or stopped.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::exit;
use crate::log::counted;
use crate::sys::notify::Notify;
use crate::sys::signal::{Signal, Signals};
use crate::sys::{poll, process};

use super::control::Control;
use super::realm::{Realm, Seen, Sign};
use super::source::{Found, Rules, Source, Stamp};
use super::stats::Stats;
use super::vassal::{Event, State};
use super::watch::VassalWatch;
use crate::watch::{Change, ChangeKind, Debounce};

/// The signals that the emperor reads.
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

/// How long hooks may take when everything else is over.
const HOOK_TIME: Duration = Duration::from_secs(10);

/// The emperor.
pub(super) struct Emperor {
    pub(super) sources: Vec<Source>,
    pub(super) rules: Rules,
    pub(super) realm: Realm,
    pub(super) signals: Signals,
    pub(super) watch: VassalWatch,
    pub(super) debounce: Debounce<PathBuf>,
    pub(super) control: Option<Control>,
    pub(super) stats: Option<Stats>,
    pub(super) notify: Notify,
    /// How often everything is looked at, told or not.
    pub(super) every: Duration,
    /// All vassals are being reloaded, and systemd waits for the end of that.
    pub(super) reloading: bool,
    /// What could not be read at the last scan, so that it is said once.
    pub(super) unread: Vec<PathBuf>,
    pub(super) status: String,
}

/// The moments at which something is due.
struct Times {
    scan: Instant,
    /// When the emperor leaves although hooks still run.
    leave: Option<Instant>,
}

impl Emperor {
    /// Rules until it is told to stop; returns the exit status.
    ///
    /// # Errors
    /// When the kernel refuses what the emperor cannot be without.
    pub(super) fn run(&mut self) -> io::Result<i32> {
        let mut now = Instant::now();
        let mut times = Times {
            scan: now + self.every,
            leave: None,
        };
        self.scan(now);
        self.realm.tick(now);
        let count = self.realm.vassals().count() as u64;
        tracing::info!("the emperor rules over {}", counted(count, "vassal"));
        self.notify.ready("starting the vassals");
        loop {
            self.act(&mut times, now);
            let out_of_time = times.leave.is_some_and(|leave| leave <= now);
            if times.leave.is_some() && (self.realm.is_empty() || out_of_time) {
                self.realm.tell_groups_left();
                return Ok(exit::OK);
            }
            self.hear(&times, now)?;
            now = Instant::now();
            self.obey(&mut times, now)?;
        }
    }

    /// Does what is due.
    fn act(&mut self, times: &mut Times, now: Instant) {
        if times.leave.is_none() {
            for path in self.debounce.due(now) {
                self.look(&path, now);
            }
            if times.scan <= now {
                times.scan = now + self.every;
                self.scan(now);
            }
        }
        self.notify.beat(now);
        self.realm.tick(now);
        if let Some(control) = &mut self.control {
            control.serve(&mut self.realm, now);
        }
        if let Some(stats) = &mut self.stats {
            stats.serve(&self.realm, now);
        }
        self.tell_status(times.leave.is_some());
    }

    /// Waits until something is heard or due, and listens.
    fn hear(&mut self, times: &Times, now: Instant) -> io::Result<()> {
        let settled = match times.leave {
            Some(_) => None,
            None => self
                .debounce
                .deadline()
                .into_iter()
                .chain([times.scan])
                .min(),
        };
        let control = self
            .control
            .as_ref()
            .and_then(|control| control.deadline(now));
        let stats = self.stats.as_ref().and_then(|stats| stats.deadline(now));
        let deadlines = [
            settled,
            control,
            stats,
            self.realm.deadline(now),
            self.notify.beat_deadline(),
            times.leave,
        ];
        let next = deadlines.into_iter().flatten().min();
        let mut fds = vec![self.signals.as_fd(), self.watch.as_fd()];
        let first = fds.len();
        let mut signs = Vec::new();
        for (path, sign, fd) in self.realm.descriptors(now) {
            signs.push((path, sign));
            fds.push(fd);
        }
        if let Some(control) = &self.control {
            // what they say is heard when they are served
            fds.extend(control.descriptors());
        }
        fds.extend(self.stats.as_ref().and_then(Stats::descriptor));
        let timeout = next.map(|next| next.saturating_duration_since(Instant::now()));
        let ready = poll::wait(&fds, timeout)?;
        let now = Instant::now();
        let sign = |index: &usize| signs.get(index.checked_sub(first)?);
        let told: Vec<(PathBuf, Sign)> = ready
            .iter()
            .filter_map(sign)
            .map(|(path, sign)| ((*path).to_owned(), *sign))
            .collect();
        for (path, sign) in told {
            match sign {
                Sign::Word => self.realm.hear(&path, now),
                Sign::Connection => self.realm.wanted(&path, now),
            }
        }
        if ready.contains(&1) {
            self.hear_news(now)?;
        }
        Ok(())
    }

    fn hear_news(&mut self, now: Instant) -> io::Result<()> {
        for change in self.watch.read()? {
            match change {
                Change::Everything | Change::Directory(_, ChangeKind::WatchEnded) => {
                    self.scan(now);
                }
                Change::Directory(..) => {}
                Change::File(path, kind) => {
                    let path = self.rules.vassal_of(path);
                    if self
                        .sources
                        .iter()
                        .any(|source| source.might_hold(&path, &self.rules))
                    {
                        self.debounce.changed(path, kind, now);
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks at everything.
    fn scan(&mut self, now: Instant) {
        let known = self.realm.vassals().map(|it| it.found.path.clone());
        let mut gone: BTreeSet<PathBuf> = known.collect();
        let mut all = Vec::new();
        let mut unread = Vec::new();
        for source in &self.sources {
            if let Some(directory) = source.directory() {
                self.watch.watch_source(&directory);
            }
            match source.list(&self.rules) {
                Ok(found) => all.extend(found),
                Err(error) => {
                    let directory = source.directory().unwrap_or_default();
                    if !self.unread.contains(&directory) {
                        tracing::error!("{} cannot be read: {error}", directory.display());
                    }
                    // what is not seen is not gone
                    gone.retain(|path| path.parent() != Some(&directory));
                    unread.push(directory);
                }
            }
        }
        self.unread = unread;
        for found in all {
            if let Some(stamp) = Stamp::of(&found.file, &self.rules) {
                gone.remove(&found.path);
                self.look_at(found, stamp, now);
            }
        }
        for path in gone {
            self.look_at_nothing(&path, now);
        }
    }

    /// Looks at the file at one path.
    fn look(&mut self, path: &Path, now: Instant) {
        let sources = self.sources.iter();
        let found: Vec<Found> = sources
            .filter_map(|source| source.find(path, &self.rules))
            .collect();
        match Stamp::of(path, &self.rules) {
            Some(stamp) if !found.is_empty() => {
                for found in found {
                    self.look_at(found, stamp, now);
                }
            }
            _ => {
                let known = self.realm.vassals().map(|vassal| &vassal.found);
                let gone = known.filter(|found| found.file == path);
                let gone: Vec<PathBuf> = gone.map(|found| found.path.clone()).collect();
                for path in gone {
                    self.look_at_nothing(&path, now);
                }
            }
        }
    }

    fn look_at(&mut self, found: Found, stamp: Stamp, now: Instant) {
        match stamp.is_link() {
            true => self.watch.follow_link(&found.file),
            false => self.watch.unfollow_link(&found.file),
        }
        self.realm.look(found, stamp, now);
    }

    /// The file of the vassal that is known by this path is not there.
    fn look_at_nothing(&mut self, path: &Path, now: Instant) {
        let Some(file) = self.realm.get(path).map(|vassal| vassal.found.file.clone()) else {
            return;
        };
        match self.realm.look_at_nothing(path, now) {
            Seen::Missing => self.debounce.changed(file, ChangeKind::Removed, now),
            Seen::Removed => self.watch.unfollow_link(&file),
            Seen::Settled => {}
        }
    }

    /// Follows the signals that have arrived.
    fn obey(&mut self, times: &mut Times, now: Instant) -> io::Result<()> {
        while let Some(signal) = self.signals.take()? {
            match signal {
                Signal::SIGCHLD => {
                    while let Some(end) = process::reap()? {
                        self.realm.ended(end.pid, end.exit, now);
                    }
                }
                Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT => self.stop(times, now),
                Signal::SIGHUP if times.leave.is_none() => {
                    tracing::info!("reloading all vassals, some at a time");
                    self.notify.reloading();
                    self.realm.all(Event::Reload, now);
                    self.reloading = true;
                }
                Signal::SIGWINCH if times.leave.is_none() => self.scan(now),
                Signal::SIGUSR1 => self.report(now),
                _ => {}
            }
        }
        Ok(())
    }

    fn stop(&mut self, times: &mut Times, now: Instant) {
        if times.leave.is_some() {
            tracing::warn!("stopping at once: asked a second time");
            self.realm.all(Event::Hurry, now);
            return;
        }
        tracing::info!("stopping all vassals; they finish their requests first");
        self.notify.stopping();
        self.reloading = false;
        self.realm.about.leaving = true;
        self.realm.all(Event::Remove, now);
        times.leave = Some(now + self.realm.longest_stop() + HOOK_TIME);
    }

    /// One line for systemd, when it has changed, and the end of a reload of all.
    fn tell_status(&mut self, leaving: bool) {
        let mut counts = [0_u64; 5];
        for vassal in self.realm.vassals() {
            counts[match vassal.state {
                State::Ready { .. } => 0,
                State::Starting { .. } | State::Due { failures: 0, .. } => 1,
                State::Stopped | State::Leaving { .. } | State::Gone => 2,
                State::Due { .. } | State::Refused => 3,
                State::OnDemand => 4,
            }] += 1;
        }
        let [ready, starting, stopped, failed, on_demand] = counts;
        let all: u64 = counts.iter().sum();
        let status = match leaving {
            true => format!("stopping: {} left", counted(all, "vassal")),
            false => format!(
                "{}: {ready} ready, {on_demand} on demand, {starting} starting, {failed} failed, {stopped} stopped",
                counted(all, "vassal")
            ),
        };
        if self.reloading
            && !self
                .realm
                .vassals()
                .any(|vassal| vassal.state.is_reloading())
        {
            self.reloading = false;
            self.notify.ready(&status);
        } else if status != self.status {
            self.notify.status(&status);
        }
        self.status = status;
    }

    fn report(&self, now: Instant) {
        tracing::info!("{}", self.status);
        for vassal in self.realm.vassals() {
            tracing::info!("{}", vassal.line(now));
        }
    }
}
