//! The vassal's end of the channel to its emperor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::ipc::control::Answer;
use crate::ipc::{
    self, FromEmperor, FromVassal, HandedOverSocket, Limited, LoadFailure, Question, Report,
    ToVassal,
};
use crate::process::VassalEnvironment;
use crate::process::interpreter::Shim;
use crate::sys::cgroup::Limits;
use crate::sys::{memory, packet, poll};

use super::on_demand_sockets::OnDemandSockets;

/// Timeout for the emperor's answer to a request for cgroup limits.
const LIMITS_TIMEOUT: Duration = Duration::from_secs(30);

/// The channel to the emperor. Without an emperor, all messages are dropped.
#[derive(Debug, Default)]
pub(crate) struct EmperorLink {
    channel: Channel,
    /// Whether the instance continues when the emperor exits (`emperor-no-orphans = false`).
    outlives_emperor: bool,
    /// Whether the instance runs in a cgroup that the emperor limits.
    in_cgroup: bool,
    /// The time at which the next heartbeat is due; `None` before the first heartbeat, and if no heartbeats are sent.
    next_beat: Option<Instant>,
    /// Whether the instance logs to a log of its own, not to the emperor's log.
    pub(super) has_own_log: bool,
    pub(super) on_demand: OnDemandSockets,
    /// The interpreter behind the version manager's shim on PATH, as the emperor resolved it.
    pub(super) shim: Option<Shim>,
}

#[derive(Debug, Default)]
enum Channel {
    /// An emperor did not start the instance.
    #[default]
    Standalone,
    Connected(OwnedFd),
    /// The emperor has exited.
    Closed,
}

/// Result of a request for cgroup limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LimitsResult {
    /// The limits are set.
    Applied,
    /// The limits are not set, for this reason.
    Refused(String),
    /// The emperor has stopped this vassal.
    Stopped,
}

/// An event on the channel to the emperor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EmperorEvent {
    Order(ToVassal),
    /// A request of an operator, forwarded by the emperor.
    Question(Question),
    /// The emperor has exited. If `stop` is true, the vassal must stop too.
    Closed {
        stop: bool,
    },
}

impl EmperorLink {
    /// Adopts the channel that the emperor passed to this process, if any. Call it once: the link owns the descriptor.
    pub(crate) fn new(environment: &VassalEnvironment) -> Self {
        let Some(number) = environment.channel else {
            return Self::default();
        };
        match packet::adopt(number) {
            Ok(channel) => Self {
                channel: Channel::Connected(channel),
                outlives_emperor: environment.outlives_emperor,
                in_cgroup: environment.in_cgroup,
                next_beat: None,
                has_own_log: false,
                on_demand: OnDemandSockets::new(environment),
                shim: environment.shim.clone(),
            },
            Err(error) => {
                tracing::warn!("descriptor {number} is not a channel to an emperor: {error}");
                Self::default()
            }
        }
    }

    /// Whether this instance was started by an emperor; stays true when the emperor has exited.
    pub(crate) fn is_vassal(&self) -> bool {
        !matches!(self.channel, Channel::Standalone)
    }

    /// Reports that the instance cannot start or continue, for a reason that is not in its log.
    pub(crate) fn failed(&self, reason: &str) {
        self.send_failed(&reason.to_owned().into(), false);
    }

    /// Reports that the instance cannot start or continue, for a reason that is in its log.
    pub(super) fn failed_as_logged(&self, failure: &LoadFailure) {
        self.send_failed(failure, !self.has_own_log);
    }

    /// Sends a failure. `in_emperors_log` means that the emperor's log already contains the failure, so the emperor
    /// does not log it again.
    fn send_failed(&self, failure: &LoadFailure, in_emperors_log: bool) {
        self.send(&FromVassal::Failed {
            reason: failure.sentence.clone(),
            traceback: failure.traceback.clone(),
            told: in_emperors_log,
        });
    }

    /// Reports that the first generation serves.
    pub(super) fn ready(&self) {
        self.send(&FromVassal::Ready);
    }

    /// Reports that a reload is complete.
    pub(super) fn reloaded(&mut self) {
        self.send(&FromVassal::Reloaded);
        // the next heartbeat is due at once; when it arrives, the emperor restarts its heartbeat timeout
        self.next_beat = None;
    }

    /// Reports that a reload failed.
    pub(super) fn reload_failed(&self, failure: &LoadFailure) {
        self.send(&FromVassal::ReloadFailed(failure.clone()));
    }

    /// Sends the answer to the forwarded request with this ticket. An answer that is too long for a message is replaced
    /// by a refusal.
    pub(super) fn answer(&self, ticket: u32, answer: Answer) {
        let Channel::Connected(channel) = &self.channel else {
            return;
        };
        let sent = ipc::send_now(channel.as_fd(), &FromVassal::Answer { ticket, answer }, &[]);
        if sent.is_err_and(|error| error.raw_os_error() == Some(libc::EMSGSIZE)) {
            let answer = Answer::refusal("the answer is too long to be passed on");
            self.send(&FromVassal::Answer { ticket, answer });
        }
    }

    /// Passes the listening sockets to the emperor. May wait until the channel has room. If `waits` is true, this
    /// process exits, and the emperor starts another process when a client connects.
    ///
    /// # Errors
    /// `NotConnected` without an emperor, otherwise the errors of sendmsg(2).
    pub(super) fn hand_over(
        &self,
        kept: Vec<HandedOverSocket>,
        sockets: &[BorrowedFd<'_>],
        waits: bool,
    ) -> io::Result<()> {
        match &self.channel {
            Channel::Connected(channel) => {
                let message = FromVassal::Sockets { kept, waits };
                ipc::send(channel.as_fd(), &message, sockets)
            }
            Channel::Standalone | Channel::Closed => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Whether the emperor can limit this instance's cgroup on request.
    pub(super) fn is_in_cgroup(&self) -> bool {
        self.in_cgroup
    }

    /// Asks the emperor to set limits of the instance's cgroup, without waiting for the answer. The emperor's own
    /// limits apply too.
    pub(super) fn limit(&self, limits: Limits) {
        if self.in_cgroup {
            self.send(&FromVassal::Limits(limits));
        }
    }

    /// Asks the emperor to set limits, and blocks until the emperor has answered or [`LIMITS_TIMEOUT`] is over. Only
    /// the start calls this function, because later the master's loop reads the channel.
    pub(super) fn limit_and_wait(&self, limits: Limits) -> LimitsResult {
        self.limit(limits);
        let deadline = Instant::now() + LIMITS_TIMEOUT;
        loop {
            let Channel::Connected(channel) = &self.channel else {
                return emperor_exited();
            };
            let timeout = deadline.saturating_duration_since(Instant::now());
            match poll::wait(&[channel.as_fd()], Some(timeout)) {
                Ok(ready) if ready.is_empty() && timeout.is_zero() => {
                    let seconds = LIMITS_TIMEOUT.as_secs();
                    let reason = format!("the emperor has not answered for {seconds} s");
                    return LimitsResult::Refused(reason);
                }
                Ok(ready) if ready.is_empty() => {}
                Ok(_) => {
                    if let Some(result) = self.receive_limits_result(channel) {
                        return result;
                    }
                }
                Err(error) => return LimitsResult::Refused(error.to_string()),
            }
        }
    }

    /// Reads one message during [`EmperorLink::limit_and_wait`]. Returns `None` if the message does not end the wait.
    /// Refuses requests of operators.
    fn receive_limits_result(&self, channel: &OwnedFd) -> Option<LimitsResult> {
        match ipc::receive::<FromEmperor>(channel.as_fd()) {
            Ok(Some((FromEmperor::Limited(Limited { limits_refused }), _))) => {
                Some(limits_refused.map_or(LimitsResult::Applied, LimitsResult::Refused))
            }
            Ok(Some((FromEmperor::Order(ToVassal::Stop | ToVassal::StopNow), _))) => {
                Some(LimitsResult::Stopped)
            }
            Ok(Some((FromEmperor::Order(_), _))) => None,
            Ok(Some((FromEmperor::Question(question), _))) => {
                let answer = Answer::refusal("it has only just been started; ask again");
                self.answer(question.ticket, answer);
                None
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
            Ok(None) | Err(_) => Some(emperor_exited()),
        }
    }

    /// Reports that the instance exits because it has received no requests.
    pub(super) fn idle(&self) {
        self.send(&FromVassal::Idle);
    }

    /// Sends a heartbeat if a heartbeat is due; the first heartbeat is due at once. If `interval` is `None` or zero, no
    /// heartbeats are sent.
    pub(super) fn beat(&mut self, interval: Option<Duration>, now: Instant) {
        let is_connected = matches!(self.channel, Channel::Connected(_));
        let Some(interval) = interval.filter(|it| !it.is_zero() && is_connected) else {
            self.next_beat = None;
            return;
        };
        if self.next_beat.is_none_or(|due| due <= now) {
            self.next_beat = now.checked_add(interval);
            let every_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
            self.send(&FromVassal::Beat { every_ms });
        }
    }

    /// The time at which [`EmperorLink::beat`] must be called next.
    pub(super) fn beat_deadline(&self) -> Option<Instant> {
        self.next_beat
    }

    /// Answers [`ToVassal::Report`]; `pids` are the processes of the instance except the master.
    pub(super) fn report(&self, workers: u32, requests: u64, pids: &[i32]) {
        let master = std::process::id().cast_signed();
        let memory_kib = pids
            .iter()
            .chain([&master])
            .filter_map(|pid| memory::proportional_kib(*pid))
            .sum();
        self.send(&FromVassal::Report(Report {
            workers,
            requests,
            memory_kib,
        }));
    }

    /// The descriptor of the channel to poll for input; `None` without an emperor.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.channel {
            Channel::Connected(channel) => Some(channel.as_fd()),
            Channel::Standalone | Channel::Closed => None,
        }
    }

    /// Receives one message. Returns `None` if the message needs no action. Blocks if the descriptor is not readable.
    pub(super) fn receive(&mut self) -> Option<EmperorEvent> {
        let Channel::Connected(channel) = &self.channel else {
            return None;
        };
        match ipc::receive::<FromEmperor>(channel.as_fd()) {
            Ok(Some((FromEmperor::Order(order), _))) => Some(EmperorEvent::Order(order)),
            Ok(Some((FromEmperor::Question(question), _))) => {
                Some(EmperorEvent::Question(question))
            }
            // this is the answer to `limit`; the emperor has logged a refusal itself
            Ok(Some((FromEmperor::Limited(_), _))) => None,
            // the message is an order that only a newer version knows
            Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
            Ok(None) | Err(_) => {
                self.channel = Channel::Closed;
                let stop = !self.outlives_emperor;
                Some(EmperorEvent::Closed { stop })
            }
        }
    }

    fn send(&self, message: &FromVassal) {
        if let Channel::Connected(channel) = &self.channel {
            // a failure means that the emperor has exited, which the next `receive` reports, or that it has stopped
            // reading
            let _ = ipc::send_now(channel.as_fd(), message, &[]);
        }
    }
}

fn emperor_exited() -> LimitsResult {
    LimitsResult::Refused("the emperor has exited".to_owned())
}
