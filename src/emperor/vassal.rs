//! The life of a vassal: a pure function of its state, what happened, and the time.
//!
//! ```text
//!   Due ──▶ Starting ──▶ Ready ──▶ Leaving ──▶ Gone | Stopped | Due
//!    ▲          │          │
//!    └──────────┴──────────┘  an end that nobody asked for: again, after a pause of its own
//! ```

mod pulse;

use std::time::{Duration, Instant};

use crate::ipc::ToVassal;
use crate::sys::process::Pid;

pub(super) use pulse::Pulse;

/// A vassal that was ready for so long is in order: what befalls it later is its first failure.
const STEADY: Duration = Duration::from_secs(10);

/// How long a start or a reload counts against the number that may be under way at once.
const TURN: Duration = Duration::from_secs(2);

/// How long a vassal may take when it is told to stop at once.
pub(super) const HURRY: Duration = Duration::from_secs(2);

/// Where a vassal is in its life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    /// No process; one is to be started at `due`, when it is its turn.
    Due {
        due: Instant,
        /// Failures, one after the other.
        failures: u32,
    },
    /// A process that does not serve yet.
    Starting {
        pid: Pid,
        since: Instant,
        failures: u32,
        /// The file has changed since: a failure says nothing about what it is now.
        changed: bool,
    },
    /// It serves.
    Ready {
        pid: Pid,
        since: Instant,
        failures: u32,
        reload: Reload,
    },
    /// No process; the emperor waits at its sockets.
    OnDemand,
    /// It was told to stop, and has until `deadline`.
    Leaving {
        pid: Pid,
        deadline: Instant,
        rung: Rung,
        then: Then,
    },
    /// No process, until the operator asks for one.
    Stopped,
    /// No process, until the file changes: this one may not be started.
    Refused,
    /// No process, and none wanted any more.
    Gone,
}

/// A reload of a vassal that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reload {
    /// None.
    None,
    /// One waits for its turn.
    Wanted,
    /// One is under way; with `again` another one follows.
    Running { since: Instant, again: bool },
}

/// How it was told to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rung {
    /// It may finish its requests.
    Asked,
    /// It was told to stop at once.
    Hurried,
    /// It was killed.
    Killed,
}

/// What follows when it has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Its file is gone, or everything stops.
    Gone,
    /// The operator stopped it.
    Stopped,
    /// It is started anew.
    Start,
}

/// What can happen to a vassal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Time has passed; `turn`: one more start or reload may begin.
    Tick { turn: bool },
    /// Its process was started.
    Spawned(Pid),
    /// It could not be.
    NotSpawned,
    /// It may not be started as its file is.
    Refuse,
    /// It serves.
    Ready,
    /// It has handed its sockets over and leaves: it is to be started when somebody connects.
    Waits,
    /// Somebody connects.
    Wanted,
    /// Its process has ended, because nobody asked for anything.
    Rested,
    /// Its reload is over, well or not.
    Reloaded,
    /// Its process has ended.
    Exited,
    /// Its file has changed, was touched, or is back.
    Changed,
    /// Everything is loaded anew, or the operator wants it.
    Reload,
    /// It has to be another process, of another user say.
    Replace,
    /// Its file is gone, or everything stops.
    Remove,
    /// The operator stops it.
    Stop,
    /// The operator starts it, or tries again at once.
    Start,
    /// It has to end at once.
    Hurry,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    Spawn,
    Tell(ToVassal),
    Kill(Pid),
}

/// The times that the configuration sets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The first pause after a failure.
    pub(super) throttle: Duration,
    /// The longest.
    pub(super) longest: Duration,
    /// How long a vassal may take to stop.
    pub(super) mercy: Duration,
}

impl Limits {
    /// The pause after so many failures.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        match failures {
            0 => Duration::ZERO,
            more => self
                .throttle
                .saturating_mul(1 << (more - 1).min(20))
                .min(self.longest),
        }
    }
}

impl State {
    /// A vassal whose file was just found.
    pub(super) fn new(now: Instant) -> State {
        State::Due {
            due: now,
            failures: 0,
        }
    }

    /// Its process, if it has one.
    pub(super) fn pid(&self) -> Option<Pid> {
        match *self {
            State::Starting { pid, .. } | State::Ready { pid, .. } | State::Leaving { pid, .. } => {
                Some(pid)
            }
            State::Due { .. } | State::OnDemand | State::Stopped | State::Refused | State::Gone => {
                None
            }
        }
    }

    /// Until when its start or reload counts among those under way.
    pub(super) fn turn_ends(&self) -> Option<Instant> {
        match *self {
            State::Starting { since, .. }
            | State::Ready {
                reload: Reload::Running { since, .. },
                ..
            } => Some(since + TURN),
            _ => None,
        }
    }

    /// Whether it waits for its turn, and since when it may have it.
    pub(super) fn wants_turn(&self, now: Instant) -> bool {
        match *self {
            State::Due { due, .. } => due <= now,
            State::Ready { reload, .. } => reload == Reload::Wanted,
            _ => false,
        }
    }

    /// Whether a reload of it waits for its turn or is under way.
    pub(super) fn is_reloading(&self) -> bool {
        matches!(*self, State::Ready { reload, .. } if reload != Reload::None)
    }

    /// When there is something to do, if nothing happens before.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        match *self {
            State::Due { due, .. } => Some(due).filter(|due| *due > now),
            State::Leaving { deadline, rung, .. } if rung != Rung::Killed => Some(deadline),
            _ => self.turn_ends().filter(|end| *end > now),
        }
    }
}

/// The next state, and what to do.
pub(super) fn step(state: State, event: Event, now: Instant, limits: &Limits) -> (State, Action) {
    let due_now = State::new(now);
    let failed = |failures: u32| State::Due {
        due: now + limits.pause(failures),
        failures,
    };
    match (state, event) {
        (State::Gone, Event::Changed | Event::Start) => (due_now, Action::Nothing),
        (State::Gone, _) => (state, Action::Nothing),

        (State::Due { due, .. }, Event::Tick { turn: true }) if due <= now => {
            (state, Action::Spawn)
        }
        (State::Due { failures, .. }, Event::Spawned(pid)) => {
            let starting = State::Starting {
                pid,
                since: now,
                failures,
                changed: false,
            };
            (starting, Action::Nothing)
        }
        (State::Due { failures, .. }, Event::NotSpawned) => {
            (failed(failures.saturating_add(1)), Action::Nothing)
        }
        (State::Due { .. }, Event::Refuse) => (State::Refused, Action::Nothing),
        (
            State::Due { .. } | State::Refused,
            Event::Changed | Event::Reload | Event::Replace | Event::Start,
        )
        | (State::Stopped, Event::Start) => (due_now, Action::Nothing),
        // a process to serve, or one that reads the file anew and hands its sockets over again
        (
            State::OnDemand,
            Event::Wanted | Event::Start | Event::Changed | Event::Reload | Event::Replace,
        ) => (due_now, Action::Nothing),
        (State::Due { .. } | State::OnDemand | State::Stopped | State::Refused, Event::Remove) => {
            (State::Gone, Action::Nothing)
        }
        (State::Due { .. } | State::OnDemand | State::Refused, Event::Stop) => {
            (State::Stopped, Action::Nothing)
        }
        (State::Starting { changed, .. }, Event::Waits) => match changed {
            // it may have read the file before the change
            true => (due_now, Action::Nothing),
            false => (State::OnDemand, Action::Nothing),
        },
        (State::Ready { reload, .. }, Event::Rested) => match reload {
            Reload::None => (State::OnDemand, Action::Nothing),
            _ => (due_now, Action::Nothing),
        },
        (_, Event::Rested) => step(state, Event::Exited, now, limits),

        (State::Starting { .. } | State::Ready { .. }, Event::Remove) => {
            leave(state, Then::Gone, now, limits)
        }
        (State::Starting { .. } | State::Ready { .. }, Event::Stop) => {
            leave(state, Then::Stopped, now, limits)
        }
        (State::Starting { .. } | State::Ready { .. }, Event::Replace) => {
            leave(state, Then::Start, now, limits)
        }
        (State::Leaving { .. }, _) => step_leaving(state, event, now),
        (State::Starting { .. }, _) => step_starting(state, event, now, limits),
        (State::Ready { .. }, _) => step_ready(state, event, now, limits),
        _ => (state, Action::Nothing),
    }
}

fn step_starting(state: State, event: Event, now: Instant, limits: &Limits) -> (State, Action) {
    let State::Starting {
        pid,
        since,
        failures,
        changed,
    } = state
    else {
        return (state, Action::Nothing);
    };
    match event {
        Event::Ready => {
            let ready = State::Ready {
                pid,
                since: now,
                failures,
                // it may have read the file before the change
                reload: if changed {
                    Reload::Wanted
                } else {
                    Reload::None
                },
            };
            (ready, Action::Nothing)
        }
        Event::Changed | Event::Reload => {
            let starting = State::Starting {
                pid,
                since,
                failures,
                changed: true,
            };
            (starting, Action::Nothing)
        }
        Event::Exited if changed => (State::new(now), Action::Nothing),
        Event::Exited => {
            let failures = failures.saturating_add(1);
            let due = now + limits.pause(failures);
            (State::Due { due, failures }, Action::Nothing)
        }
        _ => (state, Action::Nothing),
    }
}

fn step_ready(state: State, event: Event, now: Instant, limits: &Limits) -> (State, Action) {
    let State::Ready {
        pid,
        since,
        failures,
        reload,
    } = state
    else {
        return (state, Action::Nothing);
    };
    let with = |reload| State::Ready {
        pid,
        since,
        failures,
        reload,
    };
    match (event, reload) {
        (Event::Tick { turn: true }, Reload::Wanted) => {
            let running = Reload::Running {
                since: now,
                again: false,
            };
            (with(running), Action::Tell(ToVassal::Reload))
        }
        (Event::Changed | Event::Reload, Reload::Running { since, .. }) => (
            with(Reload::Running { since, again: true }),
            Action::Nothing,
        ),
        (Event::Changed | Event::Reload, _) => (with(Reload::Wanted), Action::Nothing),
        (Event::Reloaded, Reload::Running { again: true, .. }) => {
            (with(Reload::Wanted), Action::Nothing)
        }
        (Event::Reloaded, _) => (with(Reload::None), Action::Nothing),
        (Event::Exited, _) => {
            let steady = now.saturating_duration_since(since) >= STEADY;
            let failures = if steady {
                0
            } else {
                failures.saturating_add(1)
            };
            let due = now + limits.pause(failures);
            (State::Due { due, failures }, Action::Nothing)
        }
        _ => (state, Action::Nothing),
    }
}

fn leave(state: State, then: Then, now: Instant, limits: &Limits) -> (State, Action) {
    let Some(pid) = state.pid() else {
        return (state, Action::Nothing);
    };
    let leaving = State::Leaving {
        pid,
        deadline: now + limits.mercy,
        rung: Rung::Asked,
        then,
    };
    (leaving, Action::Tell(ToVassal::Stop))
}

fn step_leaving(state: State, event: Event, now: Instant) -> (State, Action) {
    let State::Leaving {
        pid,
        deadline,
        rung,
        then,
    } = state
    else {
        return (state, Action::Nothing);
    };
    let leaving = |deadline, rung, then| State::Leaving {
        pid,
        deadline,
        rung,
        then,
    };
    let due = matches!(event, Event::Tick { .. }) && deadline <= now;
    match (event, rung) {
        (Event::Exited, _) => match then {
            Then::Gone => (State::Gone, Action::Nothing),
            Then::Stopped => (State::Stopped, Action::Nothing),
            Then::Start => (State::new(now), Action::Nothing),
        },
        (Event::Remove, _) => (leaving(deadline, rung, Then::Gone), Action::Nothing),
        (Event::Stop, _) if then == Then::Start => {
            (leaving(deadline, rung, Then::Stopped), Action::Nothing)
        }
        (Event::Start, _) => (leaving(deadline, rung, Then::Start), Action::Nothing),
        (Event::Changed, _) if then == Then::Gone => {
            (leaving(deadline, rung, Then::Start), Action::Nothing)
        }
        (Event::Hurry, Rung::Asked) => (
            leaving(now + HURRY, Rung::Hurried, then),
            Action::Tell(ToVassal::StopNow),
        ),
        (_, Rung::Asked) if due => (
            leaving(now + HURRY, Rung::Hurried, then),
            Action::Tell(ToVassal::StopNow),
        ),
        (_, Rung::Hurried) if due => (leaving(deadline, Rung::Killed, then), Action::Kill(pid)),
        _ => (state, Action::Nothing),
    }
}

#[cfg(test)]
mod tests;
