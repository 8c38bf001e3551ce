//! The state of the application's signals in the master.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::master::services::cron_schedule;

use super::clock::SignalClock;
use super::table::Trigger;
use super::watch::SignalWatch;

/// Time after which the workers get another message about a signal that no worker has taken.
const REPEAT: Duration = Duration::from_millis(200);

/// Minimum time between two log lines about skipped signals.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The cause of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::master) enum Raised {
    /// The application has called `uwsgi.signal`. Each call runs the handler once.
    ByApplication,
    /// A timer, a cron entry or a file has raised the signal. The signal is skipped while its handler still runs or
    /// waits.
    ByTrigger,
}

/// The signals of the application.
#[derive(Debug, Default)]
pub(in crate::master) struct AppSignals {
    clock: SignalClock,
    watch: SignalWatch,
    /// The generation whose triggers apply; 0 if there is none yet.
    pub(in crate::master) generation: u32,
    /// The time at which the workers get another message about waiting signals; `None` if no signal waits.
    repeat_at: Option<Instant>,
    /// The row of the worker that was last chosen for a signal that any worker may handle.
    pub(in crate::master) last_row: u32,
    skipped: BTreeMap<u8, Skipped>,
}

/// The skipped signals with one number.
#[derive(Debug)]
struct Skipped {
    count: u64,
    logged: Instant,
}

impl AppSignals {
    /// Applies the triggers of a generation in place of the previous triggers.
    pub(in crate::master) fn adopt(
        &mut self,
        generation: u32,
        triggers: &[(u8, Trigger)],
        now: Instant,
    ) {
        let is_reload = self.generation != generation;
        self.generation = generation;
        self.clock.adopt(triggers, is_reload, now);
        self.watch.adopt(triggers, now);
    }

    /// The descriptor to poll for changes of files.
    pub(in crate::master) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.watch.descriptor()
    }

    /// Reads the changes of files.
    pub(in crate::master) fn read(&mut self, now: Instant) {
        self.watch.read(now);
    }

    /// The time at which the signals have to be checked next.
    pub(in crate::master) fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.clock.deadline(), self.watch.deadline(), self.repeat_at];
        deadlines.into_iter().flatten().min()
    }

    /// The signals whose triggers are due.
    pub(in crate::master) fn due(&mut self, now: Instant) -> Vec<u8> {
        let local = cron_schedule::local;
        let mut due = self.clock.due(now, cron_schedule::now, &local);
        due.extend(self.watch.due(now));
        due
    }

    /// Whether the workers have to get another message about waiting signals.
    pub(in crate::master) fn take_repeat(&mut self, now: Instant) -> bool {
        let is_due = self.repeat_at.is_some_and(|at| at <= now);
        if is_due {
            self.repeat_at = None;
        }
        is_due
    }

    /// Records that signals wait until any worker handles them.
    pub(in crate::master) fn signals_wait(&mut self, now: Instant) {
        self.repeat_at.get_or_insert(now + REPEAT);
    }

    /// Counts a skipped signal, and logs it at most once a minute.
    pub(in crate::master) fn skip(&mut self, number: u8, now: Instant) {
        let entry = self.skipped.entry(number);
        let is_first = matches!(entry, std::collections::btree_map::Entry::Vacant(_));
        let skipped = entry.or_insert(Skipped {
            count: 0,
            logged: now,
        });
        skipped.count += 1;
        if is_first || now.duration_since(skipped.logged) >= LOG_INTERVAL {
            skipped.logged = now;
            tracing::warn!(
                "signal {number}: skipped, because its handler still runs or waits for a free worker ({} skipped so far)",
                skipped.count
            );
        }
    }

    /// Number of skipped signals.
    pub(in crate::master) fn skipped(&self) -> u64 {
        self.skipped.values().map(|it| it.count).sum()
    }
}
