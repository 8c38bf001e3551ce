//! The life of a worker slot: a pure function of its state, what happened, and the time.
//!
//! ```text
//!          Due              Forked             Ready
//!  Empty ───────▶ Forking ─────────▶ Starting ───────▶ Serving ──▶ Leaving ──▶ Killed
//!    ▲               │                  │     └▶ Held ───▲ │          │           │
//!    └───────────────┴──────────────────┴──────────────────┴──────────┴───────────┴──▶ Vacant
//! ```
//! A slot keeps its number through many workers. It becomes `Vacant` when its generation is over, or when another
//! place has its worker: while one worker takes over from another, two places have the same number.

use std::time::{Duration, Instant};

use crate::ipc::ToWorker;
use crate::sys::process::Pid;

use super::backoff;

/// A worker that lived at least this long, or answered anything, had a good start.
pub(super) const GOOD_START: Duration = Duration::from_secs(1);

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Slot {
    /// No process; the next is to be forked at `due`.
    Empty {
        due: Instant,
        /// Starts that failed, one after the other.
        failures: u32,
    },
    /// The zygote was asked to fork.
    Forking {
        failures: u32,
        /// Not so: the worker is killed as soon as it is known.
        wanted: bool,
    },
    /// Forked, not yet able to serve.
    Starting { worker: Worker },
    /// Able to serve, waiting for the word.
    Held { worker: Worker },
    /// Accepting requests.
    Serving { worker: Worker },
    /// Finishing what it began, until `deadline`.
    Leaving {
        worker: Worker,
        deadline: Instant,
        replace: bool,
    },
    /// Killed; its end has not been seen yet.
    Killed { worker: Worker, replace: bool },
    /// No process, and none wanted.
    Vacant,
}

/// The process in a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Worker {
    pub(super) pid: Pid,
    pub(super) since: Instant,
    /// Starts that failed before this one.
    pub(super) failures: u32,
}

/// What can happen to a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    /// Time has passed, while a zygote can fork.
    Tick,
    /// The zygote has forked this worker.
    Forked(Pid),
    /// The zygote could not fork, or went away before it said that it had.
    NotForked,
    /// The worker can serve, and waits for the word; with `hold` it waits until its generation takes over.
    Ready { hold: bool },
    /// The generation takes over.
    TakeOver,
    /// A worker is wanted here.
    Want,
    /// The worker leaves on its own account.
    Leaves { deadline: Instant },
    /// The worker is to leave; a worker is wanted all the same.
    Retire { deadline: Instant },
    /// The worker is killed; a worker is wanted as much as before.
    Condemn,
    /// The slot is no longer wanted; a worker in it has until `deadline`.
    Dismiss { word: ToWorker, deadline: Instant },
    /// The slot is no longer wanted; a worker in it is killed.
    Kill,
    /// The worker's process has ended, after `requests` requests.
    Exited { requests: u64 },
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Action {
    Nothing,
    /// Ask the zygote for a worker.
    Fork,
    /// Tell the worker, over its leash.
    Tell(ToWorker),
    /// Kill the worker at once.
    Kill,
    /// The same, because it did not leave in time.
    KillOverdue,
}

impl Slot {
    /// A slot whose first worker is due now.
    pub(super) fn new(now: Instant) -> Self {
        Self::Empty {
            due: now,
            failures: 0,
        }
    }

    /// The process in the slot.
    pub(super) fn worker(&self) -> Option<&Worker> {
        match self {
            Self::Empty { .. } | Self::Forking { .. } | Self::Vacant => None,
            Self::Starting { worker }
            | Self::Held { worker }
            | Self::Serving { worker }
            | Self::Leaving { worker, .. }
            | Self::Killed { worker, .. } => Some(worker),
        }
    }

    /// When a [`Event::Tick`] has to come; `can_fork`: there is a zygote that forks.
    pub(super) fn deadline(&self, can_fork: bool) -> Option<Instant> {
        match *self {
            Self::Empty { due, .. } => can_fork.then_some(due),
            Self::Leaving { deadline, .. } => Some(deadline),
            _ => None,
        }
    }

    /// Whether a worker serves here, or will.
    pub(super) fn covers(&self) -> bool {
        match self {
            Self::Empty { .. }
            | Self::Starting { .. }
            | Self::Held { .. }
            | Self::Serving { .. } => true,
            Self::Forking { wanted, .. } => *wanted,
            Self::Leaving { .. } | Self::Killed { .. } | Self::Vacant => false,
        }
    }

    /// Starts that failed, one after the other, until now.
    pub(super) fn failures(&self) -> u32 {
        match *self {
            Self::Empty { failures, .. } | Self::Forking { failures, .. } => failures,
            _ => self.worker().map_or(0, |worker| worker.failures),
        }
    }
}

/// The next state, and what to do.
pub(super) fn step(slot: Slot, event: Event, now: Instant) -> (Slot, Action) {
    match event {
        Event::Tick => tick(slot, now),
        Event::Forked(pid) => forked(slot, pid, now),
        Event::NotForked => (not_forked(slot, now), Action::Nothing),
        Event::Ready { hold } => match slot {
            Slot::Starting { worker } if hold => (Slot::Held { worker }, Action::Nothing),
            Slot::Starting { worker } => (Slot::Serving { worker }, Action::Tell(ToWorker::Serve)),
            other => (other, Action::Nothing),
        },
        Event::TakeOver => match slot {
            Slot::Held { worker } => (Slot::Serving { worker }, Action::Tell(ToWorker::Serve)),
            other => (other, Action::Nothing),
        },
        Event::Want => match slot {
            Slot::Vacant => (Slot::new(now), Action::Nothing),
            other => (other, Action::Nothing),
        },
        Event::Leaves { deadline } => leave(slot, deadline, Action::Nothing),
        Event::Retire { deadline } => leave(slot, deadline, Action::Tell(ToWorker::Retire)),
        Event::Condemn => condemn(slot),
        Event::Dismiss { word, deadline } => dismiss(slot, word, deadline),
        Event::Kill => kill(slot),
        Event::Exited { requests } => (exited(slot, requests, now), Action::Nothing),
    }
}

fn tick(slot: Slot, now: Instant) -> (Slot, Action) {
    match slot {
        Slot::Empty { due, failures } if due <= now => {
            let forking = Slot::Forking {
                failures,
                wanted: true,
            };
            (forking, Action::Fork)
        }
        Slot::Leaving {
            worker,
            deadline,
            replace,
        } if deadline <= now => (Slot::Killed { worker, replace }, Action::KillOverdue),
        other => (other, Action::Nothing),
    }
}

fn forked(slot: Slot, pid: Pid, now: Instant) -> (Slot, Action) {
    let Slot::Forking { failures, wanted } = slot else {
        return (slot, Action::Nothing);
    };
    let worker = Worker {
        pid,
        since: now,
        failures,
    };
    if wanted {
        return (Slot::Starting { worker }, Action::Nothing);
    }
    let killed = Slot::Killed {
        worker,
        replace: false,
    };
    (killed, Action::Kill)
}

fn not_forked(slot: Slot, now: Instant) -> Slot {
    match slot {
        Slot::Forking { wanted: false, .. } => Slot::Vacant,
        Slot::Forking { failures, .. } => after_failure(failures, now),
        other => other,
    }
}

fn dismiss(slot: Slot, word: ToWorker, deadline: Instant) -> (Slot, Action) {
    match slot {
        Slot::Empty { .. } | Slot::Vacant => (Slot::Vacant, Action::Nothing),
        Slot::Forking { failures, .. } => {
            let forking = Slot::Forking {
                failures,
                wanted: false,
            };
            (forking, Action::Nothing)
        }
        // it has never accepted: nothing is lost
        Slot::Starting { worker } | Slot::Held { worker } => {
            let killed = Slot::Killed {
                worker,
                replace: false,
            };
            (killed, Action::Kill)
        }
        Slot::Serving { worker } => {
            let leaving = Slot::Leaving {
                worker,
                deadline,
                replace: false,
            };
            (leaving, Action::Tell(word))
        }
        Slot::Leaving {
            worker,
            deadline: earlier,
            ..
        } => {
            let leaving = Slot::Leaving {
                worker,
                deadline: earlier.min(deadline),
                replace: false,
            };
            (leaving, Action::Tell(word))
        }
        Slot::Killed { worker, .. } => {
            let killed = Slot::Killed {
                worker,
                replace: false,
            };
            (killed, Action::Nothing)
        }
    }
}

fn leave(slot: Slot, deadline: Instant, action: Action) -> (Slot, Action) {
    match slot {
        Slot::Starting { worker } | Slot::Held { worker } | Slot::Serving { worker } => {
            let leaving = Slot::Leaving {
                worker,
                deadline,
                replace: true,
            };
            (leaving, action)
        }
        other => (other, Action::Nothing),
    }
}

fn condemn(slot: Slot) -> (Slot, Action) {
    let (worker, replace) = match slot {
        Slot::Starting { worker } | Slot::Held { worker } | Slot::Serving { worker } => {
            (worker, true)
        }
        Slot::Leaving {
            worker, replace, ..
        } => (worker, replace),
        other => return (other, Action::Nothing),
    };
    (Slot::Killed { worker, replace }, Action::Kill)
}

fn kill(slot: Slot) -> (Slot, Action) {
    match slot {
        Slot::Empty { .. } | Slot::Vacant => (Slot::Vacant, Action::Nothing),
        Slot::Forking { failures, .. } => {
            let forking = Slot::Forking {
                failures,
                wanted: false,
            };
            (forking, Action::Nothing)
        }
        Slot::Starting { worker }
        | Slot::Held { worker }
        | Slot::Serving { worker }
        | Slot::Leaving { worker, .. }
        | Slot::Killed { worker, .. } => {
            let killed = Slot::Killed {
                worker,
                replace: false,
            };
            (killed, Action::Kill)
        }
    }
}

fn exited(slot: Slot, requests: u64, now: Instant) -> Slot {
    match slot {
        Slot::Starting { worker } => after_failure(worker.failures, now),
        Slot::Held { worker }
        | Slot::Serving { worker }
        | Slot::Leaving {
            worker,
            replace: true,
            ..
        }
        | Slot::Killed {
            worker,
            replace: true,
        } => {
            if requests > 0 || now.duration_since(worker.since) >= GOOD_START {
                Slot::new(now)
            } else {
                after_failure(worker.failures, now)
            }
        }
        Slot::Leaving { .. } | Slot::Killed { .. } => Slot::Vacant,
        other => other,
    }
}

fn after_failure(failures: u32, now: Instant) -> Slot {
    let failures = failures.saturating_add(1);
    Slot::Empty {
        due: now + backoff::pause(failures),
        failures,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pid() -> Pid {
        Pid::new(71).unwrap()
    }

    fn after(mut slot: Slot, events: &[Event], now: Instant) -> (Slot, Vec<Action>) {
        let mut actions = Vec::new();
        for event in events {
            let action;
            (slot, action) = step(slot, *event, now);
            if action != Action::Nothing {
                actions.push(action);
            }
        }
        (slot, actions)
    }

    fn serving(now: Instant) -> Slot {
        let start = [
            Event::Tick,
            Event::Forked(pid()),
            Event::Ready { hold: false },
        ];
        after(Slot::new(now), &start, now).0
    }

    #[test]
    fn a_slot_is_filled_and_its_worker_told_to_serve() {
        let now = Instant::now();
        let events = [
            Event::Tick,
            Event::Tick,
            Event::Forked(pid()),
            Event::Ready { hold: false },
        ];
        let (slot, actions) = after(Slot::new(now), &events, now);
        assert!(matches!(slot, Slot::Serving { worker } if worker.pid == pid()));
        assert_eq!(actions, [Action::Fork, Action::Tell(ToWorker::Serve)]);
    }

    #[test]
    fn a_held_worker_serves_when_its_generation_takes_over() {
        let now = Instant::now();
        let events = [
            Event::Tick,
            Event::Forked(pid()),
            Event::Ready { hold: true },
        ];
        let (slot, actions) = after(Slot::new(now), &events, now);
        assert!(matches!(slot, Slot::Held { .. }));
        assert_eq!(actions, [Action::Fork]);
        let (slot, action) = step(slot, Event::TakeOver, now);
        assert!(matches!(slot, Slot::Serving { .. }));
        assert_eq!(action, Action::Tell(ToWorker::Serve));
    }

    #[test]
    fn a_worker_that_dies_after_a_request_is_replaced_at_once() {
        let now = Instant::now();
        let (slot, _) = step(serving(now), Event::Exited { requests: 1 }, now);
        assert_eq!(slot, Slot::new(now));
    }

    #[test]
    fn a_worker_that_dies_at_start_again_and_again_is_retried_ever_more_slowly() {
        let now = Instant::now();
        let mut slot = Slot::new(now);
        let mut pauses = Vec::new();
        for _ in 0..5 {
            let due = slot.deadline(true).unwrap();
            pauses.push((due - now).as_millis());
            let events = [Event::Tick, Event::Forked(pid())];
            slot = after(slot, &events, due).0;
            (slot, _) = step(slot, Event::Exited { requests: 0 }, now);
        }
        assert_eq!(pauses, [0, 0, 100, 200, 400]);
        assert_eq!(slot.failures(), 5);
    }

    #[test]
    fn a_good_start_ends_the_series_of_failures() {
        let now = Instant::now();
        let failed = Slot::Empty {
            due: now,
            failures: 4,
        };
        let events = [
            Event::Tick,
            Event::Forked(pid()),
            Event::Ready { hold: false },
        ];
        let (slot, _) = after(failed, &events, now);
        let later = now + GOOD_START;
        assert_eq!(
            step(slot, Event::Exited { requests: 0 }, later).0,
            Slot::new(later)
        );
        assert_eq!(
            step(slot, Event::Exited { requests: 0 }, now).0.failures(),
            5
        );
    }

    #[test]
    fn a_worker_that_leaves_on_its_own_account_is_replaced_when_it_has_gone() {
        let now = Instant::now();
        let deadline = now + Duration::from_secs(60);
        let (slot, action) = step(serving(now), Event::Leaves { deadline }, now);
        assert_eq!(action, Action::Nothing);
        assert_eq!(slot.deadline(true), Some(deadline));
        assert_eq!(
            step(slot, Event::Exited { requests: 3 }, now).0,
            Slot::new(now)
        );
    }

    #[test]
    fn a_dismissed_worker_is_killed_only_when_its_mercy_is_over() {
        let now = Instant::now();
        let deadline = now + Duration::from_secs(60);
        let dismiss = Event::Dismiss {
            word: ToWorker::Retire,
            deadline,
        };
        let (slot, action) = step(serving(now), dismiss, now);
        assert_eq!(action, Action::Tell(ToWorker::Retire));
        assert_eq!(step(slot, Event::Tick, now).1, Action::Nothing);
        let (slot, action) = step(slot, Event::Tick, deadline);
        assert_eq!(action, Action::KillOverdue);
        assert_eq!(
            step(slot, Event::Exited { requests: 3 }, deadline).0,
            Slot::Vacant
        );
    }

    #[test]
    fn a_fork_under_way_when_its_slot_is_dismissed_ends_with_the_kill_of_a_worker_that_never_served()
     {
        let now = Instant::now();
        let dismiss = Event::Dismiss {
            word: ToWorker::Stop,
            deadline: now,
        };
        let events = [
            Event::Tick,
            dismiss,
            Event::Forked(pid()),
            Event::Exited { requests: 0 },
        ];
        let (slot, actions) = after(Slot::new(now), &events, now);
        assert_eq!(slot, Slot::Vacant);
        assert_eq!(actions, [Action::Fork, Action::Kill]);
    }

    #[test]
    fn a_fork_that_fails_is_tried_again() {
        let now = Instant::now();
        let (slot, _) = after(Slot::new(now), &[Event::Tick, Event::NotForked], now);
        assert_eq!(
            slot,
            Slot::Empty {
                due: now,
                failures: 1
            }
        );
    }

    #[test]
    fn without_a_zygote_an_empty_slot_waits_for_no_time() {
        assert_eq!(Slot::new(Instant::now()).deadline(false), None);
    }

    #[test]
    fn nothing_fills_a_vacant_slot() {
        let now = Instant::now();
        let deadline = now;
        for event in [
            Event::Tick,
            Event::Forked(pid()),
            Event::NotForked,
            Event::Ready { hold: false },
            Event::TakeOver,
            Event::Leaves { deadline },
            Event::Kill,
            Event::Exited { requests: 0 },
        ] {
            assert_eq!(
                step(Slot::Vacant, event, now),
                (Slot::Vacant, Action::Nothing)
            );
        }
    }
}
