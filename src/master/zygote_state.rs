//! The states of a zygote, and the transitions between them: a pure function of state, event and time.
//!
//! ```text
//!          Tick              Loaded            Close
//!  Absent ──────▶ Loading ───────────▶ Loaded ───────▶ Closing ──▶ Killed ──▶ Gone
//!    ▲               │                    │
//!    └───────────────┴────────────────────┘ Exited
//! ```

use std::time::{Duration, Instant};

use crate::sys::process::Pid;

use super::respawn_delay;
use super::slot::GOOD_START;

/// Maximum time between a zygote's report of a failure, or the end of its channel, and its exit.
const ENDING_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum number of consecutive failures that are counted for a zygote that had loaded the application. The count
/// determines the pause, which is therefore at most 0.4 s.
const MAX_FAILURES_AFTER_LOADING: u32 = 4;

/// The state of the zygote: the process that forks a generation's workers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Zygote {
    /// There is no process. The next zygote is spawned at `due`.
    Absent {
        due: Instant,
        /// Consecutive failed starts.
        failures: u32,
    },
    /// The zygote imports the application.
    Loading { process: Process },
    /// The zygote has loaded the application and can fork.
    Loaded { process: Process },
    /// The zygote is no longer needed, but a fork is pending. It is killed when the fork has ended, at the latest at
    /// `deadline`.
    Closing { pid: Pid, deadline: Instant },
    /// The zygote is about to exit. It is killed if its process still exists at `deadline`.
    Ending {
        process: Process,
        cause: EndCause,
        deadline: Instant,
    },
    /// The zygote was killed because it is no longer needed, and its exit is not yet reported.
    Killed { pid: Pid },
    /// There is no process, and no zygote is needed.
    Gone,
}

/// The reason why a zygote is about to exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndCause {
    /// The zygote reported that the application cannot be loaded.
    LoadFailed,
    /// The zygote's channel closed or failed without a report of a failure, or the zygote did not answer.
    ChannelClosed {
        /// Whether the zygote had loaded the application.
        loaded: bool,
    },
}

/// A zygote's process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) since: Instant,
    /// Consecutive failed starts before the start of this process.
    pub(super) failures: u32,
}

/// An event that concerns a zygote.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    /// Time has passed. `forking` is true if a fork is pending.
    Tick { forking: bool },
    /// The zygote was spawned.
    Spawned(Pid),
    /// The zygote could not be spawned.
    NotSpawned,
    /// The zygote has imported the application.
    Loaded,
    /// The zygote reported that the application cannot be loaded.
    LoadFailed,
    /// The zygote's channel closed or failed.
    ChannelClosed,
    /// The zygote does not answer a request to fork.
    Unresponsive,
    /// The generation does not need the zygote any more. `forking` is true if a fork is pending; the fork then has
    /// until `deadline`.
    Close { forking: bool, deadline: Instant },
    /// The zygote's process has exited.
    Exited,
}

/// The action that follows from an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    Spawn,
    Kill,
}

impl Zygote {
    /// Creates the state of a zygote that is due to be spawned at once.
    pub(super) fn new(now: Instant) -> Self {
        Self::Absent {
            due: now,
            failures: 0,
        }
    }

    /// The process id; `None` if there is no process.
    pub(super) fn pid(&self) -> Option<Pid> {
        match *self {
            Self::Loading { process } | Self::Loaded { process } | Self::Ending { process, .. } => {
                Some(process.pid)
            }
            Self::Closing { pid, .. } | Self::Killed { pid } => Some(pid),
            Self::Absent { .. } | Self::Gone => None,
        }
    }

    /// Whether the zygote can be asked to fork.
    pub(super) fn forks(&self) -> bool {
        matches!(self, Self::Loaded { .. })
    }

    /// The time at which the next [`Event::Tick`] is due; `None` if no tick is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match *self {
            Self::Absent { due, .. } => Some(due),
            Self::Closing { deadline, .. } | Self::Ending { deadline, .. } => Some(deadline),
            _ => None,
        }
    }
}

/// Returns the next state, and the action for the caller to perform.
pub(super) fn step(zygote: Zygote, event: Event, now: Instant) -> (Zygote, Action) {
    match event {
        Event::Tick { forking } => tick(zygote, forking, now),
        Event::Spawned(pid) => (spawned(zygote, pid, now), Action::Nothing),
        Event::NotSpawned => match zygote {
            Zygote::Absent { failures, .. } => (after_failure(failures, now), Action::Nothing),
            other => (other, Action::Nothing),
        },
        Event::Loaded => match zygote {
            Zygote::Loading { mut process } => {
                process.failures = process.failures.min(MAX_FAILURES_AFTER_LOADING);
                (Zygote::Loaded { process }, Action::Nothing)
            }
            other => (other, Action::Nothing),
        },
        Event::LoadFailed => {
            let cause = |_| EndCause::LoadFailed;
            (ending(zygote, cause, now), Action::Nothing)
        }
        Event::ChannelClosed => {
            let cause = |loaded| EndCause::ChannelClosed { loaded };
            (ending(zygote, cause, now), Action::Nothing)
        }
        Event::Unresponsive => match zygote {
            Zygote::Loaded { .. } => {
                let cause = |loaded| EndCause::ChannelClosed { loaded };
                (ending(zygote, cause, now), Action::Kill)
            }
            other => (other, Action::Nothing),
        },
        Event::Close { forking, deadline } => close(zygote, forking, deadline),
        Event::Exited => (exited(zygote, now), Action::Nothing),
    }
}

fn tick(zygote: Zygote, forking: bool, now: Instant) -> (Zygote, Action) {
    match zygote {
        Zygote::Absent { due, .. } if due <= now => (zygote, Action::Spawn),
        Zygote::Ending {
            process,
            cause,
            deadline,
        } if deadline <= now => {
            let ending = Zygote::Ending {
                process,
                cause,
                deadline: now + ENDING_TIMEOUT,
            };
            (ending, Action::Kill)
        }
        Zygote::Closing { pid, deadline } if !forking || deadline <= now => {
            (Zygote::Killed { pid }, Action::Kill)
        }
        other => (other, Action::Nothing),
    }
}

fn spawned(zygote: Zygote, pid: Pid, now: Instant) -> Zygote {
    let Zygote::Absent { failures, .. } = zygote else {
        return zygote;
    };
    let process = Process {
        pid,
        since: now,
        failures,
    };
    Zygote::Loading { process }
}

/// Returns the state of a zygote that is about to exit. The argument of `cause` is true if the zygote had loaded the
/// application.
fn ending(zygote: Zygote, cause: impl Fn(bool) -> EndCause, now: Instant) -> Zygote {
    let deadline = now + ENDING_TIMEOUT;
    match zygote {
        Zygote::Loading { process } => Zygote::Ending {
            process,
            cause: cause(false),
            deadline,
        },
        Zygote::Loaded { process } => Zygote::Ending {
            process,
            cause: cause(true),
            deadline,
        },
        other => other,
    }
}

fn close(zygote: Zygote, forking: bool, deadline: Instant) -> (Zygote, Action) {
    match zygote {
        Zygote::Absent { .. } | Zygote::Gone => (Zygote::Gone, Action::Nothing),
        Zygote::Loaded { process } if forking => {
            let pid = process.pid;
            (Zygote::Closing { pid, deadline }, Action::Nothing)
        }
        Zygote::Loading { process }
        | Zygote::Loaded { process }
        | Zygote::Ending { process, .. } => {
            let pid = process.pid;
            (Zygote::Killed { pid }, Action::Kill)
        }
        Zygote::Closing {
            pid,
            deadline: earlier,
        } => {
            let deadline = earlier.min(deadline);
            (Zygote::Closing { pid, deadline }, Action::Nothing)
        }
        Zygote::Killed { pid } => (Zygote::Killed { pid }, Action::Nothing),
    }
}

fn exited(zygote: Zygote, now: Instant) -> Zygote {
    match zygote {
        Zygote::Loading { process }
        | Zygote::Ending {
            process,
            cause: EndCause::LoadFailed | EndCause::ChannelClosed { loaded: false },
            ..
        } => after_failure(process.failures, now),
        Zygote::Loaded { process }
        | Zygote::Ending {
            process,
            cause: EndCause::ChannelClosed { loaded: true },
            ..
        } => after_life(process, now),
        Zygote::Closing { .. } | Zygote::Killed { .. } => Zygote::Gone,
        other => other,
    }
}

/// Returns the state after the exit of a zygote that had loaded the application. Another load will probably succeed.
/// The pause is short, because no worker can be replaced without a zygote.
fn after_life(process: Process, now: Instant) -> Zygote {
    if now.duration_since(process.since) >= GOOD_START {
        return Zygote::new(now);
    }
    // the maximum also limits the pause after a failure of the next load
    let failures = process
        .failures
        .saturating_add(1)
        .min(MAX_FAILURES_AFTER_LOADING);
    Zygote::Absent {
        due: now + respawn_delay::after(failures),
        failures,
    }
}

fn after_failure(failures: u32, now: Instant) -> Zygote {
    let failures = failures.saturating_add(1);
    Zygote::Absent {
        due: now + respawn_delay::after(failures),
        failures,
    }
}

#[cfg(test)]
mod tests;
