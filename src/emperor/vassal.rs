//! One vassal: `Vassal` has its state, and performs the transitions of its life cycle.

mod file_state;
mod heartbeat;
pub(super) mod life_cycle;
mod process;
mod rate_limit;
mod transitions;
mod untrusted_input;

use std::os::fd::BorrowedFd;
use std::time::Instant;

use crate::ipc::{LoadFailure, ToVassal};
use crate::sys::process::Pid;
use crate::sys::user::{self, Identity};

use super::kept_sockets::KeptSockets;
use super::policy::Policy;
use super::source::Definition;
use super::spawn::Handover;
use super::stamp::Stamp;

pub(super) use file_state::{FileState, Removal};
pub(super) use life_cycle::{Action, Event, Purpose, Reload, Scheduled, State, StopStage};
pub(super) use process::{ExitReason, Process};
pub(super) use rate_limit::{DEMAND_STARTS, MESSAGES, RateLimiter};
pub(super) use transitions::STOP_NOW_TIMEOUT;
pub(super) use untrusted_input::{Received, receive};

/// One vassal: its file, its state, its sockets and its history.
pub(super) struct Vassal {
    pub(super) definition: Definition,
    pub(super) file: FileState,
    pub(super) state: State<Process>,
    /// The sockets that the emperor keeps for the vassal.
    pub(super) sockets: KeptSockets,
    /// Why the vassal has failed, or why the last change of its file has no effect.
    pub(super) problem: Option<LoadFailure>,
    /// Limits the rate of starts that connections cause.
    pub(super) demand_starts: RateLimiter,
    pub(super) history: History,
}

/// Times of a vassal's events, and the number of its starts.
pub(super) struct History {
    /// The time at which the vassal's file was found.
    pub(super) found: Instant,
    /// The time at which the first process was started.
    pub(super) first_spawn: Option<Instant>,
    /// The time at which the last process was started.
    pub(super) last_spawn: Option<Instant>,
    /// The time at which the vassal was last ready.
    pub(super) last_ready: Option<Instant>,
    /// The time at which the last heartbeat arrived.
    pub(super) last_heartbeat: Option<Instant>,
    /// Number of started processes.
    pub(super) spawns: u32,
}

/// The meaning of a readable descriptor of a vassal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readable {
    /// The vassal has sent a message, or closed its channel.
    Channel,
    /// A client connects to a socket of the vassal.
    Socket,
}

impl Vassal {
    pub(super) fn new(definition: Definition, stamp: Stamp, now: Instant) -> Self {
        Self {
            definition,
            file: FileState::Present(stamp),
            state: State::new(now),
            sockets: KeptSockets::default(),
            problem: None,
            demand_starts: RateLimiter::default(),
            history: History {
                found: now,
                first_spawn: None,
                last_spawn: None,
                last_ready: None,
                last_heartbeat: None,
                spawns: 0,
            },
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.definition.name
    }

    pub(super) fn pid(&self) -> Option<Pid> {
        self.state.process().map(|process| process.pid)
    }

    /// The descriptors to poll, each with its meaning when it is readable. Descriptors over their rate limit are left
    /// out.
    pub(super) fn descriptors(
        &self,
        now: Instant,
    ) -> impl Iterator<Item = (Readable, BorrowedFd<'_>)> {
        let waits =
            matches!(self.state, State::OnDemand) && self.starts_blocked_until(now).is_none();
        let sockets = self.sockets.descriptors().filter(move |_| waits);
        let process = self.state.process();
        let process = process.filter(|it| it.messages_blocked_until(now).is_none());
        let channel = process.and_then(|process| process.channel.as_ref()?.fd());
        let channel = channel.map(|fd| (Readable::Channel, fd));
        channel
            .into_iter()
            .chain(sockets.map(|fd| (Readable::Socket, fd)))
    }

    /// The time at which the vassal must be handled even if no event occurs.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let process = self.state.process();
        let rate_limit = match self.state {
            State::OnDemand => self.starts_blocked_until(now),
            _ => process.and_then(|process| process.messages_blocked_until(now)),
        };
        let running = process.filter(|_| self.state.is_running());
        let heartbeat = running.and_then(|process| process.heartbeat.deadline());
        let deadlines = [self.state.deadline(now), heartbeat, rate_limit];
        deadlines.into_iter().flatten().min()
    }

    fn starts_blocked_until(&self, now: Instant) -> Option<Instant> {
        self.demand_starts.blocked_until(DEMAND_STARTS, now)
    }

    /// Applies an event and performs the resulting action.
    pub(super) fn apply(&mut self, event: Event<Process>, now: Instant, policy: &Policy) {
        if matches!(event, Event::Replace) && self.state.process().is_none() {
            // the sockets belong to the old owner; the new owner must bind its own sockets
            self.release_sockets();
        }
        let timed_out = matches!(event, Event::Tick { .. });
        let state = std::mem::replace(&mut self.state, State::Gone);
        let (state, action) = state.step(event, now, &policy.delays);
        self.state = state;
        if matches!(self.state, State::Gone | State::Stopped) {
            self.release_sockets();
        }
        match action {
            Action::Nothing => {}
            Action::Spawn(purpose) => self.spawn(purpose, now, policy),
            Action::Send(order) => {
                if order == ToVassal::StopNow && timed_out {
                    let mercy = policy.delays.mercy.as_secs();
                    tracing::warn!(
                        "vassal {}: has not stopped within {mercy} s (reload-mercy), and is told to stop at once",
                        self.name()
                    );
                }
                self.send(order);
            }
            Action::Kill => self.kill_unstoppable(),
        }
    }

    fn send(&self, order: ToVassal) {
        if let Some(process) = self.state.process() {
            process.send(order);
        }
    }

    fn kill_unstoppable(&self) {
        if let Some(process) = self.state.process() {
            let (name, pid) = (self.name(), process.pid);
            tracing::warn!("vassal {name} (pid {pid}): killed, because it does not stop");
            process.kill_now(name);
        }
    }

    /// Kills the vassal's master if its heartbeat timeout has expired and no message is unread.
    pub(super) fn check_heartbeat(&mut self, now: Instant) {
        let name = &self.definition.name;
        if !self.state.is_running() {
            return;
        }
        let Some(process) = self.state.process_mut() else {
            return;
        };
        // the unread message may be a heartbeat
        if let Some(silence) = process
            .heartbeat
            .overdue(now)
            .filter(|_| !process.has_message())
        {
            process.heartbeat.reset();
            let silence = silence.as_secs();
            process.kill(
                name,
                &format!(
                    "its master has sent no heartbeat for {silence} s (emperor-required-heartbeat)"
                ),
            );
        }
    }

    fn spawn(&mut self, purpose: Purpose, now: Instant, policy: &Policy) {
        let identity = match self.identity(policy) {
            Ok(identity) => identity,
            Err(reason) => {
                tracing::error!("vassal {}: is not started: {reason}", self.name());
                self.problem = Some(reason.into());
                return self.apply(Event::Refused, now, policy);
            }
        };
        match self.spawn_process(purpose, identity, policy) {
            Ok(process) => {
                self.history.first_spawn.get_or_insert(now);
                self.history.last_spawn = Some(now);
                self.history.spawns = self.history.spawns.saturating_add(1);
                self.apply(Event::Spawned(process), now, policy);
            }
            Err(error) => {
                let reason = format!("its process cannot be started: {error}");
                self.apply(Event::SpawnFailed, now, policy);
                tracing::error!("vassal {}: {reason}{}", self.name(), self.next_start(now));
                self.problem = Some(reason.into());
            }
        }
    }

    fn spawn_process(
        &self,
        purpose: Purpose,
        identity: Option<Identity>,
        policy: &Policy,
    ) -> std::io::Result<Process> {
        let cgroups = policy.cgroups.as_ref();
        let cgroup = cgroups
            .map(|cgroups| cgroups.create(&self.definition))
            .transpose()?;
        let handover = Handover {
            sockets: &self.sockets,
            // if the emperor keeps no sockets, no client can be waiting yet
            serve: purpose != Purpose::HandOverIfOnDemand && !self.sockets.is_empty(),
            cgroup: cgroup
                .as_ref()
                .map(|cgroup| cgroup.open_processes())
                .transpose()?,
        };
        let (pid, channel) =
            policy
                .launcher
                .spawn(&self.definition, identity.as_ref(), &handover)?;
        if let (Some(cgroups), Some(cgroup)) = (cgroups, &cgroup)
            && let Err(sentence) = cgroups.limit_started(cgroup)
        {
            tracing::error!("vassal {}: {sentence}", self.name());
        }
        Ok(Process::new(pid, channel, identity, cgroup))
    }

    /// The user that the vassal's process runs as; `None` means the emperor's user.
    fn identity(&self, policy: &Policy) -> Result<Option<Identity>, String> {
        let Some(stamp) = self.file.stamp().filter(|_| policy.tyrant) else {
            return Ok(None);
        };
        let (uid, gid) = stamp.owner;
        if (uid == 0 || gid == 0) && !policy.tyrant_root {
            return Err(format!(
                "its file belongs to uid {uid} and gid {gid}, and would run as root; give it to another user and group, or set emperor-tyrant-root"
            ));
        }
        if let Some(link_owner) = stamp.foreign_link_owner {
            return Err(format!(
                "its file belongs to uid {uid}, but a link on the way to it belongs to uid {link_owner}, who must not choose what runs as another user; let root or the owner make the link, or set emperor-tyrant-nofollow"
            ));
        }
        let groups = user::groups_of_user(uid, gid).map_err(|error| error.to_string())?;
        Ok(Some(Identity { uid, gid, groups }))
    }

    /// Closes the sockets that the emperor keeps for the vassal, and removes the files of the sockets.
    pub(super) fn release_sockets(&mut self) {
        self.sockets.release(&self.definition.name);
    }

    /// When the vassal starts next, as the end of a log message; empty if no start is scheduled.
    pub(super) fn next_start(&self, now: Instant) -> String {
        match self.state {
            State::Scheduled(Scheduled { at, .. }) if at > now => {
                let backoff = at.duration_since(now).as_secs_f64();
                format!("; it is tried again in {backoff:.1} s, or when its file changes")
            }
            State::Scheduled(_) => "; it is started again at once".to_owned(),
            _ => String::new(),
        }
    }
}
