//! The states of a worker slot, and the transitions between them: a pure function of state, event and time.
//!
//! ```text
//!          Tick             Forked           Begin              Ready
//!  Empty ───────▶ Forking ─────────▶ Parked ───────▶ Starting ───────▶ Serving ──▶ Leaving ──▶ Killed
//!    ▲               │                 │                │     └▶ Held ───▲ │          │           │
//!    └───────────────┴─────────────────┴────────────────┴──────────────────┴──────────┴───────────┴──▶ Vacant
//! ```
//! A slot has one worker id and holds one process after another. A slot becomes `Vacant` when its generation ends, or
//! when the slot of a successor has taken over its worker id. A successor is forked early and parked. The successor
//! gets the worker id and runs Python when its predecessor has exited (`worker_ids.rs`).

use std::time::{Duration, Instant};

use crate::ipc::ToWorker;
use crate::sys::process::Pid;

use super::respawn_delay;

/// Lifetime of a worker after which its start counts as successful. The start also counts as successful when the worker
/// has finished a request.
pub(super) const GOOD_START: Duration = Duration::from_secs(1);

/// The state of a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum SlotState {
    /// There is no process. The next worker is forked at `due`.
    Empty {
        due: Instant,
        /// Consecutive failed starts.
        failures: u32,
    },
    /// The zygote was asked to fork.
    Forking {
        failures: u32,
        /// Whether the worker is still needed. Otherwise it is killed as soon as its pid is known.
        wanted: bool,
    },
    /// The worker is forked. Until its worker id is free, it has no id and runs no Python code.
    Parked { worker: WorkerProcess },
    /// The worker has its worker id and is not yet able to serve.
    Starting { worker: WorkerProcess },
    /// The worker is able to serve and waits for [`ToWorker::Serve`].
    Held { worker: WorkerProcess },
    /// The worker accepts requests.
    Serving { worker: WorkerProcess },
    /// The worker finishes its requests. It is killed at `deadline`.
    Leaving {
        worker: WorkerProcess,
        since: Instant,
        deadline: Instant,
        /// Whether a new worker is forked in this slot when this worker has exited.
        replace: bool,
    },
    /// The worker was killed, and its exit is not yet reported.
    Killed {
        worker: WorkerProcess,
        /// When the worker began to leave, or was killed.
        since: Instant,
        replace: bool,
    },
    /// There is no process, and no worker is requested.
    Vacant,
}

/// The worker process in a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct WorkerProcess {
    pub(super) pid: Pid,
    pub(super) since: Instant,
    /// Consecutive failed starts before the start of this process.
    pub(super) failures: u32,
}

/// An event that concerns a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    /// Time has passed. The caller sends this event to an empty slot only if a zygote can fork.
    Tick,
    /// The zygote has forked this worker.
    Forked(Pid),
    /// The zygote could not fork, or exited before it reported the fork.
    NotForked,
    /// The worker id of the parked worker is free.
    Begin,
    /// The worker can serve. With `hold`, it waits until its generation takes over.
    Ready { hold: bool },
    /// The generation takes over: a held worker begins to serve.
    TakeOver,
    /// A worker is requested in this slot.
    Want,
    /// The worker leaves on its own initiative. It is killed at `deadline`, and another worker follows.
    Leaves { deadline: Instant },
    /// The worker has to leave by `deadline`; another worker follows.
    Retire { deadline: Instant },
    /// The worker is killed. Another worker follows, unless the slot was released before.
    KillWorker,
    /// The slot is released: no worker follows. A serving worker gets `message` and has to leave by `deadline`. A
    /// worker that does not serve yet is killed.
    Dismiss {
        message: ToWorker,
        deadline: Instant,
    },
    /// The slot is released: its worker is killed, and no worker follows.
    Kill,
    /// The worker's process has exited after it handled `requests` requests.
    Exited { requests: u64 },
}

/// The action that follows from an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Action {
    Nothing,
    /// Ask the zygote to fork a worker.
    Fork,
    /// Send a message to the worker.
    Send(ToWorker),
    /// Kill the worker.
    Kill,
    /// Kill the worker because it exceeded its deadline.
    KillOverdue,
}

impl SlotState {
    /// Creates an empty slot whose first worker is due now.
    pub(super) fn new(now: Instant) -> Self {
        Self::Empty {
            due: now,
            failures: 0,
        }
    }

    /// The process in the slot; `None` if the slot has no process.
    pub(super) fn worker(&self) -> Option<&WorkerProcess> {
        match self {
            Self::Empty { .. } | Self::Forking { .. } | Self::Vacant => None,
            Self::Parked { worker }
            | Self::Starting { worker }
            | Self::Held { worker }
            | Self::Serving { worker }
            | Self::Leaving { worker, .. }
            | Self::Killed { worker, .. } => Some(worker),
        }
    }

    /// The time at which the next [`Event::Tick`] is due; `None` if no tick is due. `can_fork` tells whether a zygote
    /// can fork.
    pub(super) fn deadline(&self, can_fork: bool) -> Option<Instant> {
        match *self {
            Self::Empty { due, .. } => can_fork.then_some(due),
            Self::Leaving { deadline, .. } => Some(deadline),
            _ => None,
        }
    }

    /// The time at which the process in the slot began to leave; `None` if it does not leave.
    pub(super) fn leaving_since(&self) -> Option<Instant> {
        match *self {
            Self::Leaving { since, .. } | Self::Killed { since, .. } => Some(since),
            _ => None,
        }
    }

    /// Whether the slot has, or will have, a worker that serves.
    pub(super) fn will_serve(&self) -> bool {
        match self {
            Self::Empty { .. }
            | Self::Parked { .. }
            | Self::Starting { .. }
            | Self::Held { .. }
            | Self::Serving { .. } => true,
            Self::Forking { wanted, .. } => *wanted,
            Self::Leaving { .. } | Self::Killed { .. } | Self::Vacant => false,
        }
    }

    /// Number of consecutive failed starts in the slot until now.
    pub(super) fn failures(&self) -> u32 {
        match *self {
            Self::Empty { failures, .. } | Self::Forking { failures, .. } => failures,
            _ => self.worker().map_or(0, |worker| worker.failures),
        }
    }
}

/// Returns the next state, and the action for the caller to perform.
pub(super) fn step(slot: SlotState, event: Event, now: Instant) -> (SlotState, Action) {
    match event {
        Event::Tick => tick(slot, now),
        Event::Forked(pid) => forked(slot, pid, now),
        Event::NotForked => (not_forked(slot, now), Action::Nothing),
        Event::Begin => match slot {
            SlotState::Parked { mut worker } => {
                worker.since = now;
                (
                    SlotState::Starting { worker },
                    Action::Send(ToWorker::Begin),
                )
            }
            other => (other, Action::Nothing),
        },
        Event::Ready { hold } => match slot {
            SlotState::Starting { worker } if hold => (SlotState::Held { worker }, Action::Nothing),
            SlotState::Starting { worker } => {
                (SlotState::Serving { worker }, Action::Send(ToWorker::Serve))
            }
            other => (other, Action::Nothing),
        },
        Event::TakeOver => match slot {
            SlotState::Held { worker } => {
                (SlotState::Serving { worker }, Action::Send(ToWorker::Serve))
            }
            other => (other, Action::Nothing),
        },
        Event::Want => match slot {
            SlotState::Vacant => (SlotState::new(now), Action::Nothing),
            other => (other, Action::Nothing),
        },
        Event::Leaves { deadline } => leave(slot, deadline, Action::Nothing, now),
        Event::Retire { deadline } => leave(slot, deadline, Action::Send(ToWorker::Retire), now),
        Event::KillWorker => kill_worker(slot, now),
        Event::Dismiss { message, deadline } => dismiss(slot, message, deadline, now),
        Event::Kill => kill(slot, now),
        Event::Exited { requests } => (exited(slot, requests, now), Action::Nothing),
    }
}

fn tick(slot: SlotState, now: Instant) -> (SlotState, Action) {
    match slot {
        SlotState::Empty { due, failures } if due <= now => {
            let forking = SlotState::Forking {
                failures,
                wanted: true,
            };
            (forking, Action::Fork)
        }
        SlotState::Leaving {
            worker,
            since,
            deadline,
            replace,
        } if deadline <= now => {
            let killed = SlotState::Killed {
                worker,
                since,
                replace,
            };
            (killed, Action::KillOverdue)
        }
        other => (other, Action::Nothing),
    }
}

fn forked(slot: SlotState, pid: Pid, now: Instant) -> (SlotState, Action) {
    let SlotState::Forking { failures, wanted } = slot else {
        return (slot, Action::Nothing);
    };
    let worker = WorkerProcess {
        pid,
        since: now,
        failures,
    };
    if wanted {
        return (SlotState::Parked { worker }, Action::Nothing);
    }
    let killed = SlotState::Killed {
        worker,
        since: now,
        replace: false,
    };
    (killed, Action::Kill)
}

fn not_forked(slot: SlotState, now: Instant) -> SlotState {
    match slot {
        SlotState::Forking { wanted: false, .. } => SlotState::Vacant,
        SlotState::Forking { failures, .. } => after_failure(failures, now),
        other => other,
    }
}

fn dismiss(
    slot: SlotState,
    message: ToWorker,
    deadline: Instant,
    now: Instant,
) -> (SlotState, Action) {
    match slot {
        SlotState::Empty { .. } | SlotState::Vacant => (SlotState::Vacant, Action::Nothing),
        SlotState::Forking { failures, .. } => {
            let forking = SlotState::Forking {
                failures,
                wanted: false,
            };
            (forking, Action::Nothing)
        }
        // the worker has never accepted a connection, so no request is lost
        SlotState::Parked { .. } | SlotState::Starting { .. } | SlotState::Held { .. } => {
            kill(slot, now)
        }
        SlotState::Serving { worker } => {
            let leaving = SlotState::Leaving {
                worker,
                since: now,
                deadline,
                replace: false,
            };
            (leaving, Action::Send(message))
        }
        SlotState::Leaving {
            worker,
            since,
            deadline: earlier,
            ..
        } => {
            let leaving = SlotState::Leaving {
                worker,
                since,
                deadline: earlier.min(deadline),
                replace: false,
            };
            (leaving, Action::Send(message))
        }
        SlotState::Killed { worker, since, .. } => {
            let killed = SlotState::Killed {
                worker,
                since,
                replace: false,
            };
            (killed, Action::Nothing)
        }
    }
}

fn leave(slot: SlotState, deadline: Instant, action: Action, now: Instant) -> (SlotState, Action) {
    match slot {
        SlotState::Starting { worker }
        | SlotState::Held { worker }
        | SlotState::Serving { worker } => {
            let leaving = SlotState::Leaving {
                worker,
                since: now,
                deadline,
                replace: true,
            };
            (leaving, action)
        }
        other => (other, Action::Nothing),
    }
}

fn kill_worker(slot: SlotState, now: Instant) -> (SlotState, Action) {
    let (worker, since, replace) = match slot {
        SlotState::Parked { worker }
        | SlotState::Starting { worker }
        | SlotState::Held { worker }
        | SlotState::Serving { worker } => (worker, now, true),
        SlotState::Leaving {
            worker,
            since,
            replace,
            ..
        } => (worker, since, replace),
        other => return (other, Action::Nothing),
    };
    let killed = SlotState::Killed {
        worker,
        since,
        replace,
    };
    (killed, Action::Kill)
}

fn kill(slot: SlotState, now: Instant) -> (SlotState, Action) {
    let (worker, since) = match slot {
        SlotState::Empty { .. } | SlotState::Vacant => return (SlotState::Vacant, Action::Nothing),
        SlotState::Forking { failures, .. } => {
            let forking = SlotState::Forking {
                failures,
                wanted: false,
            };
            return (forking, Action::Nothing);
        }
        SlotState::Parked { worker }
        | SlotState::Starting { worker }
        | SlotState::Held { worker }
        | SlotState::Serving { worker } => (worker, now),
        SlotState::Leaving { worker, since, .. } | SlotState::Killed { worker, since, .. } => {
            (worker, since)
        }
    };
    let killed = SlotState::Killed {
        worker,
        since,
        replace: false,
    };
    (killed, Action::Kill)
}

fn exited(slot: SlotState, requests: u64, now: Instant) -> SlotState {
    match slot {
        SlotState::Parked { worker } | SlotState::Starting { worker } => {
            after_failure(worker.failures, now)
        }
        SlotState::Held { worker }
        | SlotState::Serving { worker }
        | SlotState::Leaving {
            worker,
            replace: true,
            ..
        }
        | SlotState::Killed {
            worker,
            replace: true,
            ..
        } => {
            if requests > 0 || now.duration_since(worker.since) >= GOOD_START {
                SlotState::new(now)
            } else {
                after_failure(worker.failures, now)
            }
        }
        SlotState::Leaving { .. } | SlotState::Killed { .. } => SlotState::Vacant,
        other => other,
    }
}

fn after_failure(failures: u32, now: Instant) -> SlotState {
    let failures = failures.saturating_add(1);
    SlotState::Empty {
        due: now + respawn_delay::after(failures),
        failures,
    }
}

#[cfg(test)]
mod tests;
