//! All vassals of the emperor, by their paths.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::ipc::control::{Answer, Request};
use crate::ipc::{Question, ToVassal};
use crate::sys::process::{Exit, Pid};

use super::backoff::Backoff;
use super::policy::Policy;
use super::self_status::SelfStatus;
use super::skipped::{Skipped, SkippedFiles};
use super::source::Definition;
use super::stamp::Stamp;
use super::vassal::{
    DEMAND_STARTS, Event, Process, Readable, Removal, STOP_NOW_TIMEOUT, State, Vassal,
};

/// Maximum number of forwarded requests to one vassal without an answer. It equals the maximum number of clients of the
/// control socket.
const MAX_FORWARDED: usize = 32;

/// All vassals of the emperor, with the state that they share.
pub(super) struct Vassals {
    policy: Policy,
    /// The emperor's own row in `ruwsgi status`.
    pub(super) self_status: SelfStatus,
    by_path: BTreeMap<PathBuf, Vassal>,
    /// The files that have the name of a vassal's file, but define no vassal.
    pub(super) skipped: SkippedFiles,
    /// Path of the vassal started last (round-robin cursor).
    start_cursor: PathBuf,
    /// The process ids of running stop hooks, and the names of their vassals.
    stop_hooks: HashMap<Pid, String>,
    /// The ticket of the last forwarded request.
    last_ticket: u32,
}

impl Vassals {
    pub(super) fn new(policy: Policy, self_status: SelfStatus) -> Self {
        Self {
            policy,
            self_status,
            by_path: BTreeMap::new(),
            skipped: SkippedFiles::default(),
            start_cursor: PathBuf::new(),
            stop_hooks: HashMap::new(),
            last_ticket: 0,
        }
    }

    /// Records an existing file: adds its vassal, or restarts or reloads the vassal if the file or its owner has
    /// changed.
    pub(super) fn file_found(&mut self, definition: Definition, stamp: Stamp, now: Instant) {
        self.skipped.remove(&definition.path);
        let Some(vassal) = self.by_path.get_mut(&definition.path) else {
            tracing::info!("vassal {}: found", definition.name);
            let path = definition.path.clone();
            self.by_path
                .insert(path, Vassal::new(definition, stamp, now));
            return;
        };
        let before = vassal.file.found(stamp);
        let owners = |stamp: Stamp| (stamp.owner, stamp.foreign_link_owner);
        let owner_changed = before.is_some_and(|before| owners(before) != owners(stamp));
        if self.policy.tyrant && owner_changed {
            tracing::info!("vassal {}: has another owner", vassal.name());
            vassal.apply(Event::Replace, now, &self.policy);
        } else if before != Some(stamp) {
            if before.is_some() {
                tracing::info!("vassal {}: has changed", vassal.name());
            }
            vassal.apply(Event::FileChanged, now, &self.policy);
        }
    }

    /// Records that the file of the vassal with this path is missing; removes the vassal if the file is missing for too
    /// long.
    pub(super) fn file_not_found(&mut self, path: &Path, now: Instant) -> Removal {
        let Some(vassal) = self.by_path.get_mut(path) else {
            return Removal::Known;
        };
        let removal = vassal.file.not_found(now);
        if removal == Removal::Complete {
            tracing::info!("vassal {}: its file is gone", vassal.name());
            vassal.apply(Event::Remove, now, &self.policy);
        }
        removal
    }

    /// Replaces all skipped files by `skipped`, the result of a scan.
    pub(super) fn skip_all(&mut self, mut skipped: Vec<Skipped>) {
        skipped.retain(|file| !self.has_file(&file.definition.path));
        self.skipped.replace(|_| true, skipped);
    }

    /// Replaces the skipped vassals of `file` by `skipped`.
    pub(super) fn skip_file(&mut self, file: &Path, mut skipped: Vec<Skipped>) {
        skipped.retain(|file| !self.has_file(&file.definition.path));
        let is_of_file = |known: &Skipped| known.definition.file == file;
        self.skipped.replace(is_of_file, skipped);
    }

    /// Whether there is a vassal with this path whose file exists. A file that is missing for a moment counts as
    /// existing.
    fn has_file(&self, path: &Path) -> bool {
        let vassal = self.by_path.get(path);
        vassal.is_some_and(|vassal| vassal.file.stamp().is_some())
    }

    /// The time at which [`Vassals::tick`] must be called even if no event occurs.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let vassals = self.by_path.values();
        vassals.filter_map(|vassal| vassal.deadline(now)).min()
    }

    /// Applies an event to every vassal.
    pub(super) fn apply_to_all(&mut self, event: fn() -> Event<Process>, now: Instant) {
        for vassal in self.by_path.values_mut() {
            vassal.apply(event(), now, &self.policy);
        }
    }

    /// Applies an event to the vassal with this path, if there is one.
    pub(super) fn apply(&mut self, path: &Path, event: Event<Process>, now: Instant) {
        if let Some(vassal) = self.by_path.get_mut(path) {
            vassal.apply(event, now, &self.policy);
        }
    }

    /// Maximum time until all vassals have stopped.
    pub(super) fn max_stop_time(&self) -> Duration {
        self.policy.delays.mercy + STOP_NOW_TIMEOUT
    }

    /// Whether no vassal exists and no stop hook runs.
    pub(super) fn is_empty(&self) -> bool {
        self.by_path.is_empty() && self.stop_hooks.is_empty()
    }

    pub(super) fn backoff(&self) -> &Backoff {
        &self.policy.delays.backoff
    }

    /// The vassals, in the order of their paths.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Vassal> {
        self.by_path.values()
    }

    pub(super) fn get(&self, path: &Path) -> Option<&Vassal> {
        self.by_path.get(path)
    }

    /// The descriptors to poll, each with the path of its vassal and its meaning when it is readable.
    pub(super) fn descriptors(
        &self,
        now: Instant,
    ) -> impl Iterator<Item = (&Path, Readable, BorrowedFd<'_>)> {
        self.by_path.iter().flat_map(move |(path, vassal)| {
            let descriptors = vassal.descriptors(now);
            descriptors.map(|(readable, fd)| (path.as_path(), readable, fd))
        })
    }

    /// Handles a readable descriptor of the vassal with this path.
    pub(super) fn on_readable(&mut self, path: &Path, readable: Readable, now: Instant) {
        let Some(vassal) = self.by_path.get_mut(path) else {
            return;
        };
        match readable {
            Readable::Channel => vassal.receive_message(now, &self.policy),
            // the vassal may be started already, because of a connection to another of its sockets
            Readable::Socket if matches!(vassal.state, State::OnDemand) => {
                tracing::info!("vassal {}: a client connects: it is started", vassal.name());
                vassal.demand_starts.record(DEMAND_STARTS, now);
                vassal.apply(Event::Connection, now, &self.policy);
            }
            Readable::Socket => {}
        }
    }

    /// Handles the exit of a child of the emperor: a vassal's process, a stop hook or an adopted orphan.
    pub(super) fn on_exit(&mut self, pid: Pid, exit: Exit, now: Instant) {
        if let Some(name) = self.stop_hooks.remove(&pid) {
            if exit != Exit::Status(0) {
                tracing::warn!("vassal {name}: the stop hook (pid {pid}) {exit}");
            }
            return;
        }
        let mut vassals = self.by_path.values_mut();
        let Some(vassal) = vassals.find(|vassal| vassal.pid() == Some(pid)) else {
            // another vassal process that has handed over its sockets, or an orphan that the emperor has adopted
            if let Some(cgroups) = &self.policy.cgroups {
                cgroups.remove_empty();
            }
            return;
        };
        vassal.on_exit(pid, exit, now, &self.policy);
        match self.policy.launcher.run_stop_hook(&vassal.definition) {
            Ok(None) => {}
            Ok(Some(hook)) => {
                self.stop_hooks.insert(hook, vassal.name().to_owned());
            }
            Err(error) => {
                let name = vassal.name();
                tracing::error!("vassal {name}: the stop hook cannot be run: {error}");
            }
        }
    }

    /// Handles expired deadlines, and starts or reloads vassals from the start queue.
    pub(super) fn tick(&mut self, now: Instant) {
        let starting = self.next_in_start_queue(now);
        if let Some(last) = starting.last() {
            self.start_cursor.clone_from(last);
        }
        for (path, vassal) in &mut self.by_path {
            let may_start = starting.contains(path);
            vassal.apply(Event::Tick { may_start }, now, &self.policy);
            vassal.check_heartbeat(now);
        }
        self.by_path
            .retain(|_, vassal| !matches!(vassal.state, State::Gone));
    }

    /// The vassals that may start or reload now. The vassals behind the cursor come first. Otherwise a vassal that
    /// restarts again and again could delay the others.
    fn next_in_start_queue(&self, now: Instant) -> Vec<PathBuf> {
        let running = self.by_path.values().filter(|vassal| {
            let end = vassal.state.start_window_end();
            end.is_some_and(|end| end > now)
        });
        let free = self
            .policy
            .max_concurrent_starts
            .saturating_sub(running.count());
        let cursor = self.start_cursor.as_path();
        let behind = (Bound::Excluded(cursor), Bound::Unbounded);
        let up_to = (Bound::Unbounded, Bound::Included(cursor));
        let behind = self.by_path.range::<Path, _>(behind);
        let all = behind.chain(self.by_path.range::<Path, _>(up_to));
        all.filter(|(_, vassal)| vassal.state.is_queued(now))
            .take(free)
            .map(|(path, _)| path.clone())
            .collect()
    }

    /// Requests a report of each ready vassal that `includes` accepts.
    pub(super) fn request_reports(&mut self, includes: impl Fn(&Vassal) -> bool) {
        for vassal in self.by_path.values_mut() {
            if !matches!(vassal.state, State::Ready(_)) || !includes(vassal) {
                continue;
            }
            let process = vassal.state.process_mut();
            if let Some(channel) = process.and_then(|process| process.channel.as_mut())
                && !channel.report_requested
            {
                channel.report_requested = channel.send(&ToVassal::Report);
            }
        }
    }

    /// Whether all requested reports have arrived.
    pub(super) fn has_all_reports(&self) -> bool {
        let channels = self.by_path.values().filter_map(|vassal| {
            let process = vassal.state.process();
            process.and_then(|process| process.channel.as_ref())
        });
        !channels.into_iter().any(|channel| channel.report_requested)
    }

    /// Forwards a request of user `uid` to a vassal. Returns the ticket of the answer; `None` if the vassal cannot be
    /// reached.
    pub(super) fn forward(&mut self, path: &Path, uid: u32, request: Request) -> Option<u32> {
        self.last_ticket = self.last_ticket.wrapping_add(1);
        let ticket = self.last_ticket;
        let process = self.by_path.get_mut(path)?.state.process_mut()?;
        let channel = process.channel.as_mut()?;
        let question = Question {
            ticket,
            uid,
            request,
        };
        if !channel.send(&question) {
            return None;
        }
        if channel.tickets.len() >= MAX_FORWARDED {
            channel.tickets.pop_front();
        }
        channel.tickets.push_back(ticket);
        Some(ticket)
    }

    /// Removes and returns a vassal's answer to the forwarded request with this ticket; `None` if it has not arrived.
    pub(super) fn take_answer(&mut self, path: &Path, ticket: u32) -> Option<Answer> {
        let process = self.by_path.get_mut(path)?.state.process_mut()?;
        let answers = &mut process.answers;
        let index = answers.iter().position(|(known, _)| *known == ticket)?;
        answers.remove(index).map(|(_, answer)| answer)
    }

    /// Removes the vassals' cgroups when the emperor exits, and logs the cgroups that remain.
    pub(super) fn remove_cgroups(&self) {
        if let Some(cgroups) = &self.policy.cgroups {
            cgroups.remove_empty();
            cgroups.log_remaining("of a vassal");
        }
    }
}
