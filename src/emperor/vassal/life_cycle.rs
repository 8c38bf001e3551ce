//! The states of a vassal's life cycle, its events and its actions; `transitions.rs` has the transitions.
//!
//! ```text
//!   Scheduled ──▶ Starting ──▶ Ready ──▶ Stopping ──▶ Gone | Stopped | Scheduled
//!    ▲  ▲ │         │  │         │
//!    │  │ └▶ Refused ──▶ Scheduled: its file has changed, or the operator starts it
//!    │  └── OnDemand ◀┘  ◀───────┤  sockets handed over, or idle
//!    └──────────────┴────────────┘  unexpected exit: restart, after a backoff
//! ```
//!
//! `P` is what the emperor holds of the vassal's process. It exists in the states that have a process, and only there.

use std::time::{Duration, Instant};

use crate::emperor::backoff::Backoff;
use crate::ipc::ToVassal;

/// How long a start or a reload counts against the number that may run at once.
const START_WINDOW: Duration = Duration::from_secs(2);

/// The state of a vassal.
#[derive(Debug, PartialEq)]
pub(in crate::emperor) enum State<P> {
    /// No process; one is started later.
    Scheduled(Scheduled),
    /// A process that does not serve yet.
    Starting(Starting<P>),
    /// A process that serves.
    Ready(Ready<P>),
    /// A process that was told to stop.
    Stopping(Stopping<P>),
    /// No process; the emperor waits at the vassal's sockets.
    OnDemand,
    /// No process, until the operator starts it.
    Stopped,
    /// No process, until the file changes: it may not be started as it is.
    Refused,
    /// No process, and nothing to wait for: the vassal can be forgotten.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emperor) struct Scheduled {
    /// The earliest time of the start; the start queue may delay it.
    pub(in crate::emperor) at: Instant,
    /// Consecutive failures.
    pub(in crate::emperor) failures: u32,
    pub(in crate::emperor) purpose: Purpose,
}

#[derive(Debug, PartialEq)]
pub(in crate::emperor) struct Starting<P> {
    pub(in crate::emperor) process: P,
    pub(in crate::emperor) since: Instant,
    pub(in crate::emperor) failures: u32,
    pub(in crate::emperor) purpose: Purpose,
    /// The file has changed since the start: a failure says nothing about its present content.
    pub(in crate::emperor) changed: bool,
}

#[derive(Debug, PartialEq)]
pub(in crate::emperor) struct Ready<P> {
    pub(in crate::emperor) process: P,
    pub(in crate::emperor) since: Instant,
    pub(in crate::emperor) failures: u32,
    pub(in crate::emperor) purpose: Purpose,
    pub(in crate::emperor) reload: Reload,
}

#[derive(Debug, PartialEq)]
pub(in crate::emperor) struct Stopping<P> {
    pub(in crate::emperor) process: P,
    pub(in crate::emperor) deadline: Instant,
    pub(in crate::emperor) stage: StopStage,
    pub(in crate::emperor) then: AfterExit,
}

/// Why a vassal's process is started. Only a vassal on demand hands its sockets over; any other serves in each case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emperor) enum Purpose {
    /// Its file is new or has changed: a vassal on demand binds its sockets and hands them over.
    HandOverIfOnDemand,
    /// A client connects: it serves.
    Serve,
    /// The operator starts it: a vassal on demand whose sockets the emperor does not hold hands them over first, and is
    /// then started to serve.
    Start,
}

/// The reload of a vassal that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emperor) enum Reload {
    /// No reload is queued or in progress.
    None,
    /// Waits in the start queue.
    Queued,
    /// In progress; with `again` another one follows.
    Running { since: Instant, again: bool },
}

/// How far the stop of a process has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emperor) enum StopStage {
    /// It finishes its requests.
    Graceful,
    /// It was told to stop at once.
    Immediate,
    /// It was killed.
    Killed,
}

/// What follows the exit of a process that was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emperor) enum AfterExit {
    /// The vassal is forgotten: its file is gone.
    Forget,
    /// The vassal is forgotten: the emperor stops. No later event changes this.
    EmperorStops,
    /// It stays stopped by the operator.
    StayStopped,
    /// It is started again.
    Restart(Purpose),
}

/// What can happen to a vassal.
#[derive(Debug, PartialEq)]
pub(in crate::emperor) enum Event<P> {
    /// Time has passed. `may_start`: the start queue lets it start or reload.
    Tick { may_start: bool },
    /// Its process was started.
    Spawned(P),
    /// Its process could not be started.
    SpawnFailed,
    /// It may not be started as its file is.
    Refused,
    /// Its process serves.
    Ready,
    /// Its process has handed its sockets over and exits.
    HandedOver,
    /// A client connects to its sockets.
    Connection,
    /// Its process has exited because it was idle (`die-on-idle`).
    ExitedIdle,
    /// Its process has exited for another reason.
    Exited,
    /// Its reload has ended, successfully or not.
    ReloadEnded,
    /// Its file was changed, touched, or is back.
    FileChanged,
    /// The operator, or a reload of all vassals, reloads it.
    Reload,
    /// It needs a new process, since it has a new owner.
    Replace,
    /// Its file is gone.
    Remove,
    /// The emperor stops.
    EmperorStops,
    /// The operator stops it.
    Stop,
    /// The operator starts or retries it.
    Start,
    /// A graceful stop becomes an immediate one. Ignored unless the process was told to stop.
    StopNow,
}

/// What the emperor does after a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emperor) enum Action {
    Nothing,
    /// Start a process, with this purpose.
    Spawn(Purpose),
    /// Send an order to the process.
    Send(ToVassal),
    /// Kill the process.
    Kill,
}

/// The configured delays.
#[derive(Clone, Copy, Debug)]
pub(in crate::emperor) struct Delays {
    /// The delay of a start after failures.
    pub(in crate::emperor) backoff: Backoff,
    /// How long a vassal may take to stop gracefully (`reload-mercy`).
    pub(in crate::emperor) mercy: Duration,
}

impl<P> State<P> {
    /// The state of a vassal whose file was just found.
    pub(in crate::emperor) fn new(now: Instant) -> Self {
        Self::Scheduled(Scheduled {
            at: now,
            failures: 0,
            purpose: Purpose::HandOverIfOnDemand,
        })
    }

    /// Its process, if it has one.
    pub(in crate::emperor) fn process(&self) -> Option<&P> {
        match self {
            Self::Starting(Starting { process, .. })
            | Self::Ready(Ready { process, .. })
            | Self::Stopping(Stopping { process, .. }) => Some(process),
            _ => None,
        }
    }

    /// Its process, to be changed.
    pub(in crate::emperor) fn process_mut(&mut self) -> Option<&mut P> {
        match self {
            Self::Starting(Starting { process, .. })
            | Self::Ready(Ready { process, .. })
            | Self::Stopping(Stopping { process, .. }) => Some(process),
            _ => None,
        }
    }

    /// When its start or reload stops counting against the number that may run at once.
    pub(in crate::emperor) fn start_window_end(&self) -> Option<Instant> {
        match *self {
            Self::Starting(Starting { since, .. })
            | Self::Ready(Ready {
                reload: Reload::Running { since, .. },
                ..
            }) => Some(since + START_WINDOW),
            _ => None,
        }
    }

    /// Whether it waits in the start queue.
    pub(in crate::emperor) fn is_queued(&self, now: Instant) -> bool {
        match *self {
            Self::Scheduled(Scheduled { at, .. }) => at <= now,
            Self::Ready(Ready { reload, .. }) => reload == Reload::Queued,
            _ => false,
        }
    }

    /// Whether its process is starting or serving, and was not told to stop.
    pub(in crate::emperor) fn is_running(&self) -> bool {
        matches!(self, Self::Starting(_) | Self::Ready(_))
    }

    /// Whether a reload is queued or in progress.
    pub(in crate::emperor) fn is_reloading(&self) -> bool {
        matches!(self, Self::Ready(ready) if ready.reload != Reload::None)
    }

    /// When the next [`Event::Tick`] is due.
    pub(in crate::emperor) fn deadline(&self, now: Instant) -> Option<Instant> {
        match self {
            Self::Scheduled(scheduled) => Some(scheduled.at).filter(|at| *at > now),
            Self::Stopping(stopping) => {
                Some(stopping.deadline).filter(|_| stopping.stage != StopStage::Killed)
            }
            _ => self.start_window_end().filter(|end| *end > now),
        }
    }
}
