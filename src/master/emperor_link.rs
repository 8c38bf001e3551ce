//! The master's end of its emperor's channel: what it says of itself, and the orders that it hears.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::control::messages::Answer;
use crate::ipc::{
    self, FromEmperor, FromVassal, Kept, Limited, LoadFailure, Question, Report, ToVassal,
};
use crate::process::VassalEnvironment;
use crate::process::interpreter::Shim;
use crate::sys::cgroup::Limits;
use crate::sys::{memory, packet, poll};

use super::on_demand_sockets::Loan;

/// How long the emperor may take to do so.
const LIMITS_TIME: Duration = Duration::from_secs(30);

/// The way to the emperor; silent where there is none.
#[derive(Debug, Default)]
pub(crate) struct EmperorLink {
    channel: Option<OwnedFd>,
    /// The instance is a vassal, also when its emperor is gone.
    vassal: bool,
    keep: bool,
    /// It runs in a cgroup that the emperor limits.
    grouped: bool,
    /// When the next beat is due (`heartbeat`).
    next_beat: Option<Instant>,
    /// The instance's log is not the emperor's.
    pub(super) logs_elsewhere: bool,
    /// What the emperor offers and lends.
    pub(super) loan: Loan,
    /// The interpreter that the shim on PATH stands for, as the emperor has found out.
    pub(super) shim: Option<Shim>,
}

/// What came of asking for limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Narrowed {
    /// They hold.
    Done,
    /// They do not, for this reason.
    Refused(String),
    /// The emperor does not want this process any more.
    Stopped,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// An order.
    Order(ToVassal),
    /// What somebody asks by way of the emperor.
    Question(Question),
    /// The emperor is gone; `stop` unless vassals outlive it.
    Gone { stop: bool },
}

impl EmperorLink {
    /// Adopts the channel that an emperor has started this process with, if one has. Call it once: the link owns the
    /// descriptor.
    pub(crate) fn new(environment: &VassalEnvironment) -> Self {
        let Some(number) = environment.channel else {
            return Self::default();
        };
        match packet::adopt(number) {
            Ok(channel) => Self {
                channel: Some(channel),
                vassal: true,
                keep: environment.outlives_emperor,
                grouped: environment.in_cgroup,
                next_beat: None,
                logs_elsewhere: false,
                loan: Loan::new(environment),
                shim: environment.shim.clone(),
            },
            Err(error) => {
                tracing::warn!("descriptor {number} is no channel to an emperor: {error}");
                Self::default()
            }
        }
    }

    /// Whether this instance was started by an emperor.
    pub(crate) fn is_vassal(&self) -> bool {
        self.vassal
    }

    /// The instance cannot start or go on, for this reason, which its own log does not tell.
    pub(crate) fn failed(&self, sentence: &str) {
        self.say_failed(&sentence.to_owned().into(), false);
    }

    /// The same where the log tells it.
    pub(super) fn failed_as_logged(&self, failure: &LoadFailure) {
        self.say_failed(failure, !self.logs_elsewhere);
    }

    fn say_failed(&self, failure: &LoadFailure, told: bool) {
        self.say(&FromVassal::Failed {
            reason: failure.sentence.clone(),
            traceback: failure.traceback.clone(),
            told,
        });
    }

    pub(super) fn ready(&self) {
        self.say(&FromVassal::Ready);
    }

    pub(super) fn reloaded(&mut self) {
        self.say(&FromVassal::Reloaded);
        // the emperor waits for no beat before there is another first one
        self.next_beat = None;
    }

    pub(super) fn reload_failed(&self, failure: &LoadFailure) {
        self.say(&FromVassal::ReloadFailed(failure.clone()));
    }

    /// Answers the question with this ticket.
    pub(super) fn answer(&self, ticket: u32, answer: Answer) {
        let Some(channel) = &self.channel else { return };
        let sent = ipc::send(channel.as_fd(), &FromVassal::Answer { ticket, answer }, &[]);
        if sent.is_err_and(|error| error.raw_os_error() == Some(libc::EMSGSIZE)) {
            let answer = Answer::refusal("the answer is too long to be passed on");
            self.say(&FromVassal::Answer { ticket, answer });
        }
    }

    /// Gives the emperor these sockets to keep; `waits`: until somebody connects, because this process leaves.
    ///
    /// # Errors
    /// When it cannot be told.
    pub(super) fn keep(
        &self,
        kept: Vec<Kept>,
        sockets: &[BorrowedFd<'_>],
        waits: bool,
    ) -> io::Result<()> {
        match &self.channel {
            Some(channel) => {
                let message = FromVassal::Sockets { kept, waits };
                ipc::send(channel.as_fd(), &message, sockets)
            }
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Whether the emperor limits this instance's cgroup as it asks.
    pub(super) fn is_grouped(&self) -> bool {
        self.grouped
    }

    /// What the instance's cgroup may take from now on, beside what the emperor allows.
    pub(super) fn limit(&self, limits: Limits) {
        if self.grouped {
            self.say(&FromVassal::Limits(limits));
        }
    }

    /// The same at the start: comes back when they hold, or it is known why not.
    pub(super) fn limit_and_wait(&self, limits: Limits) -> Narrowed {
        self.limit(limits);
        let until = Instant::now() + LIMITS_TIME;
        loop {
            let gone = || Narrowed::Refused("the emperor is gone".to_owned());
            let Some(channel) = &self.channel else {
                return gone();
            };
            let left = until.saturating_duration_since(Instant::now());
            match poll::wait(&[channel.as_fd()], Some(left)) {
                Ok(ready) if ready.is_empty() && left.is_zero() => {
                    let seconds = LIMITS_TIME.as_secs();
                    return Narrowed::Refused(format!(
                        "the emperor has not answered for {seconds} s"
                    ));
                }
                Ok(ready) if ready.is_empty() => continue,
                Ok(_) => {}
                Err(error) => return Narrowed::Refused(error.to_string()),
            }
            match ipc::receive::<FromEmperor>(channel.as_fd()) {
                Ok(Some((FromEmperor::Limited(Limited { limits_refused }), _))) => {
                    return limits_refused.map_or(Narrowed::Done, Narrowed::Refused);
                }
                Ok(Some((FromEmperor::Order(ToVassal::Stop | ToVassal::StopNow), _))) => {
                    return Narrowed::Stopped;
                }
                Ok(Some((FromEmperor::Question(question), _))) => {
                    let answer = Answer::refusal("it has only just been started; ask again");
                    self.answer(question.ticket, answer);
                }
                Ok(Some((FromEmperor::Order(_), _))) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Ok(None) | Err(_) => return gone(),
            }
        }
    }

    /// The instance leaves because nobody asks for it.
    pub(super) fn idle(&self) {
        self.say(&FromVassal::Idle);
    }

    /// Tells the emperor that the master is alive, if it is time: every `every`, beginning at once; `None`: never.
    pub(super) fn beat(&mut self, every: Option<Duration>, now: Instant) {
        let every = every.filter(|every| !every.is_zero() && self.channel.is_some());
        let Some(every) = every else {
            self.next_beat = None;
            return;
        };
        if self.next_beat.is_none_or(|due| due <= now) {
            self.next_beat = now.checked_add(every);
            let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
            self.say(&FromVassal::Beat { every_ms });
        }
    }

    /// When [`EmperorLink::beat`] has to be called.
    pub(super) fn beat_deadline(&self) -> Option<Instant> {
        self.next_beat
    }

    /// Answers [`ToVassal::Report`]; `pids` are the processes of the instance beside this one.
    pub(super) fn report(&self, workers: u32, requests: u64, pids: &[i32]) {
        let own = std::process::id().cast_signed();
        let memory_kib = pids
            .iter()
            .chain([&own])
            .filter_map(|pid| memory::proportional_kib(*pid))
            .sum();
        self.say(&FromVassal::Report(Report {
            workers,
            requests,
            memory_kib,
        }));
    }

    /// What to wait for.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.channel.as_ref().map(AsFd::as_fd)
    }

    /// Hears the emperor; call when the descriptor is readable.
    pub(super) fn hear(&mut self) -> Option<Heard> {
        let channel = self.channel.as_ref()?;
        match ipc::receive::<FromEmperor>(channel.as_fd()) {
            Ok(Some((FromEmperor::Order(order), _))) => Some(Heard::Order(order)),
            Ok(Some((FromEmperor::Question(question), _))) => Some(Heard::Question(question)),
            // it has told the log what it could not do
            Ok(Some((FromEmperor::Limited(_), _))) => None,
            // an order that this version does not know
            Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
            Ok(None) | Err(_) => {
                self.channel = None;
                Some(Heard::Gone { stop: !self.keep })
            }
        }
    }

    fn say(&self, message: &FromVassal) {
        if let Some(channel) = &self.channel {
            // an emperor that cannot be told is gone, which is heard
            let _ = ipc::send(channel.as_fd(), message, &[]);
        }
    }
}
