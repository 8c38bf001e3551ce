//! The states, events and actions of a vassal's life cycle; `transitions.rs` has the transitions.
//!
//! ```text
//!   Scheduled ──▶ Starting ──▶ Ready ──▶ Stopping ──▶ Gone | Stopped | Scheduled
//!    ▲  ▲ │         │  │         │
//!    │  │ └▶ Refused ──▶ Scheduled: its file has changed, or the operator starts it
//!    │  └── OnDemand ◀┘  ◀───────┤  sockets handed over, or idle
//!    └──────────────┴────────────┘  unexpected exit: restart, after a backoff
//! ```
//!
//! `P` is the emperor's record of the vassal's process. Only the states with a process contain it.

use std::time::{Duration, Instant};

use crate::emperor::backoff::Backoff;
use crate::ipc::ToVassal;

/// Time for which a start or a reload counts against the limit on concurrent starts.
const START_WINDOW: Duration = Duration::from_secs(2);

/// The state of a vassal.
#[derive(Debug, PartialEq)]
pub(in crate::emperor) enum State<P> {
    /// There is no process; the vassal waits for its start.
    Scheduled(Scheduled),
    /// There is a process, and it does not serve yet.
    Starting(Starting<P>),
    /// There is a process, and it serves.
    Ready(Ready<P>),
    /// There is a process, and it was ordered to stop.
    Stopping(Stopping<P>),
    /// There is no process; the emperor waits for connections to the vassal's sockets.
    OnDemand,
    /// There is no process until the operator starts the vassal.
    Stopped,
    /// There is no process until the file changes, because the present file may not be started.
    Refused,
    /// There is no process and none will be started: the emperor can forget the vassal.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emperor) struct Scheduled {
    /// The earliest time of the start; the start queue may delay it.
    pub(in crate::emperor) at: Instant,
    /// Number of consecutive failures.
    pub(in crate::emperor) failures: u32,
    pub(in crate::emperor) purpose: Purpose,
}

#[derive(Debug, PartialEq)]
pub(in crate::emperor) struct Starting<P> {
    pub(in crate::emperor) process: P,
    pub(in crate::emperor) since: Instant,
    pub(in crate::emperor) failures: u32,
    pub(in crate::emperor) purpose: Purpose,
    /// Whether the file has changed since the start. If so, a failure of the start does not mean that the changed file
    /// is faulty.
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

/// Why a vassal's process is started. A vassal on demand may hand its sockets over; any other vassal always serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emperor) enum Purpose {
    /// The file is new or has changed: a vassal on demand binds its sockets and hands them over.
    HandOverIfOnDemand,
    /// A client connects: the process serves.
    Serve,
    /// The operator starts the vassal. If the emperor does not hold the sockets of a vassal on demand, a first process
    /// hands them over, and a second process serves.
    Start,
}

/// The reload of a vassal that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emperor) enum Reload {
    /// No reload is queued or in progress.
    None,
    /// A reload waits in the start queue.
    Queued,
    /// A reload is in progress. If `again` is true, another reload follows.
    Running { since: Instant, again: bool },
}

/// The stages of the stop of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emperor) enum StopStage {
    /// The process finishes its requests.
    Graceful,
    /// The process was ordered to stop at once.
    Immediate,
    /// The process was killed.
    Killed,
}

/// What the emperor does after the exit of a process that was ordered to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emperor) enum AfterExit {
    /// Forget the vassal, because its file is gone.
    Forget,
    /// Forget the vassal, because the emperor stops. No later event changes this.
    EmperorStops,
    /// Keep the vassal stopped, because the operator has stopped it.
    StayStopped,
    /// Start the vassal again.
    Restart(Purpose),
}

/// The events of a vassal.
#[derive(Debug, PartialEq)]
pub(in crate::emperor) enum Event<P> {
    /// Time has passed. `may_start`: the start queue permits the vassal to start or reload.
    Tick { may_start: bool },
    /// The vassal's process was started.
    Spawned(P),
    /// The vassal's process could not be started.
    SpawnFailed,
    /// The vassal may not be started with its present file.
    Refused,
    /// The vassal's process serves.
    Ready,
    /// The vassal's process has handed its sockets over, and exits.
    HandedOver,
    /// A client connects to the vassal's sockets.
    Connection,
    /// The vassal's process has exited because it was idle (`die-on-idle`).
    ExitedIdle,
    /// The vassal's process has exited for another reason.
    Exited,
    /// The vassal's reload has ended, successfully or not.
    ReloadEnded,
    /// The vassal's file was changed or touched, or exists again.
    FileChanged,
    /// The operator reloads the vassal, or all vassals.
    Reload,
    /// The vassal needs a new process, because its file has a new owner.
    Replace,
    /// The vassal's file is gone.
    Remove,
    /// The emperor stops.
    EmperorStops,
    /// The operator stops the vassal.
    Stop,
    /// The operator starts or retries the vassal.
    Start,
    /// A second signal to the emperor turns the graceful stop into an immediate stop. The event has no effect if no
    /// stop is in progress.
    StopNow,
}

/// The action of the emperor after a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emperor) enum Action {
    Nothing,
    /// Start a process for this purpose.
    Spawn(Purpose),
    /// Send an order to the process.
    Send(ToVassal),
    /// Kill the process.
    Kill,
}

/// The configured delays.
#[derive(Clone, Copy, Debug)]
pub(in crate::emperor) struct Delays {
    /// The delay before a start that follows failures. It grows with the number of failures.
    pub(in crate::emperor) backoff: Backoff,
    /// Maximum time of a graceful stop (`reload-mercy`).
    pub(in crate::emperor) mercy: Duration,
}

impl<P> State<P> {
    /// The first state of a vassal, when its file was found.
    pub(in crate::emperor) fn new(now: Instant) -> Self {
        Self::Scheduled(Scheduled {
            at: now,
            failures: 0,
            purpose: Purpose::HandOverIfOnDemand,
        })
    }

    /// The vassal's process; `None` in a state without a process.
    pub(in crate::emperor) fn process(&self) -> Option<&P> {
        match self {
            Self::Starting(Starting { process, .. })
            | Self::Ready(Ready { process, .. })
            | Self::Stopping(Stopping { process, .. }) => Some(process),
            _ => None,
        }
    }

    /// The vassal's process, mutable; `None` in a state without a process.
    pub(in crate::emperor) fn process_mut(&mut self) -> Option<&mut P> {
        match self {
            Self::Starting(Starting { process, .. })
            | Self::Ready(Ready { process, .. })
            | Self::Stopping(Stopping { process, .. }) => Some(process),
            _ => None,
        }
    }

    /// The time at which the start or reload stops counting against the limit on concurrent starts.
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

    /// Whether the vassal waits in the start queue.
    pub(in crate::emperor) fn is_queued(&self, now: Instant) -> bool {
        match *self {
            Self::Scheduled(Scheduled { at, .. }) => at <= now,
            Self::Ready(Ready { reload, .. }) => reload == Reload::Queued,
            _ => false,
        }
    }

    /// Whether the vassal's process starts or serves, and was not ordered to stop.
    pub(in crate::emperor) fn is_running(&self) -> bool {
        matches!(self, Self::Starting(_) | Self::Ready(_))
    }

    /// Whether a reload is queued or in progress.
    pub(in crate::emperor) fn is_reloading(&self) -> bool {
        matches!(self, Self::Ready(ready) if ready.reload != Reload::None)
    }

    /// The time at which the next [`Event::Tick`] is due.
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
