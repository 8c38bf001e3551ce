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

/// Time in which a zygote has to exit after it reported a failure or closed its channel.
const ENDING_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum of consecutive failures counted for a zygote that had loaded the application: a pause of 0.4 s.
const MAX_FAILURES_AFTER_LOADING: u32 = 4;

/// The state of the zygote: the process that forks a generation's workers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Zygote {
    /// No process; the next one is spawned at `due`.
    Absent {
        due: Instant,
        /// Consecutive failed starts.
        failures: u32,
    },
    /// Importing the application.
    Loading { process: Process },
    /// Able to fork.
    Loaded { process: Process },
    /// No longer needed, but a fork is pending until `deadline`.
    Closing { pid: Pid, deadline: Instant },
    /// About to exit; killed if its process still exists at `deadline`.
    Ending {
        process: Process,
        cause: EndCause,
        deadline: Instant,
    },
    /// Killed because it is no longer needed; its exit was not reported yet.
    Killed { pid: Pid },
    /// No process, and none needed.
    Gone,
}

/// Why a zygote is about to exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndCause {
    /// It reported that the application cannot be loaded.
    LoadFailed,
    /// Its channel closed or failed, or it did not answer, without a report.
    ChannelClosed {
        /// It had loaded the application.
        loaded: bool,
    },
}

/// A zygote's process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) since: Instant,
    /// Consecutive failed starts before this one.
    pub(super) failures: u32,
}

/// An event that concerns a zygote.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    /// Time has passed; `forking`: whether a fork is pending.
    Tick { forking: bool },
    /// It was spawned.
    Spawned(Pid),
    /// It could not be spawned.
    NotSpawned,
    /// The application is imported.
    Loaded,
    /// It reported that the application cannot be loaded.
    LoadFailed,
    /// Its channel closed or failed.
    ChannelClosed,
    /// It does not answer the request for a fork.
    Unresponsive,
    /// The generation does not need it any more; a pending fork has until `deadline`.
    Close { forking: bool, deadline: Instant },
    /// Its process has exited.
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
    /// A zygote to be spawned at once.
    pub(super) fn new(now: Instant) -> Self {
        Self::Absent {
            due: now,
            failures: 0,
        }
    }

    /// The id of its process.
    pub(super) fn pid(&self) -> Option<Pid> {
        match *self {
            Self::Loading { process } | Self::Loaded { process } | Self::Ending { process, .. } => {
                Some(process.pid)
            }
            Self::Closing { pid, .. } | Self::Killed { pid } => Some(pid),
            Self::Absent { .. } | Self::Gone => None,
        }
    }

    /// Whether it can be asked to fork.
    pub(super) fn forks(&self) -> bool {
        matches!(self, Self::Loaded { .. })
    }

    /// When an [`Event::Tick`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match *self {
            Self::Absent { due, .. } => Some(due),
            Self::Closing { deadline, .. } | Self::Ending { deadline, .. } => Some(deadline),
            _ => None,
        }
    }
}

/// The state and the action that follow from an event.
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

/// `cause` gets whether the application was loaded.
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

/// An application that was loaded can be loaded again. The pause stays short, because without a zygote no worker can be
/// replaced.
fn after_life(process: Process, now: Instant) -> Zygote {
    if now.duration_since(process.since) >= GOOD_START {
        return Zygote::new(now);
    }
    // the cap also keeps the pause short if the next load fails
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
