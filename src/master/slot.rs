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
pub(super) enum SlotState {
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
    Starting { worker: WorkerProcess },
    /// Able to serve, waiting for the word.
    Held { worker: WorkerProcess },
    /// Accepting requests.
    Serving { worker: WorkerProcess },
    /// Finishing what it began, until `deadline`.
    Leaving {
        worker: WorkerProcess,
        deadline: Instant,
        replace: bool,
    },
    /// Killed; its end has not been seen yet.
    Killed {
        worker: WorkerProcess,
        replace: bool,
    },
    /// No process, and none wanted.
    Vacant,
}

/// The process in a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct WorkerProcess {
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

impl SlotState {
    /// A slot whose first worker is due now.
    pub(super) fn new(now: Instant) -> Self {
        Self::Empty {
            due: now,
            failures: 0,
        }
    }

    /// The process in the slot.
    pub(super) fn worker(&self) -> Option<&WorkerProcess> {
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
pub(super) fn step(slot: SlotState, event: Event, now: Instant) -> (SlotState, Action) {
    match event {
        Event::Tick => tick(slot, now),
        Event::Forked(pid) => forked(slot, pid, now),
        Event::NotForked => (not_forked(slot, now), Action::Nothing),
        Event::Ready { hold } => match slot {
            SlotState::Starting { worker } if hold => (SlotState::Held { worker }, Action::Nothing),
            SlotState::Starting { worker } => {
                (SlotState::Serving { worker }, Action::Tell(ToWorker::Serve))
            }
            other => (other, Action::Nothing),
        },
        Event::TakeOver => match slot {
            SlotState::Held { worker } => {
                (SlotState::Serving { worker }, Action::Tell(ToWorker::Serve))
            }
            other => (other, Action::Nothing),
        },
        Event::Want => match slot {
            SlotState::Vacant => (SlotState::new(now), Action::Nothing),
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
            deadline,
            replace,
        } if deadline <= now => (SlotState::Killed { worker, replace }, Action::KillOverdue),
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
        return (SlotState::Starting { worker }, Action::Nothing);
    }
    let killed = SlotState::Killed {
        worker,
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

fn dismiss(slot: SlotState, word: ToWorker, deadline: Instant) -> (SlotState, Action) {
    match slot {
        SlotState::Empty { .. } | SlotState::Vacant => (SlotState::Vacant, Action::Nothing),
        SlotState::Forking { failures, .. } => {
            let forking = SlotState::Forking {
                failures,
                wanted: false,
            };
            (forking, Action::Nothing)
        }
        // it has never accepted: nothing is lost
        SlotState::Starting { worker } | SlotState::Held { worker } => {
            let killed = SlotState::Killed {
                worker,
                replace: false,
            };
            (killed, Action::Kill)
        }
        SlotState::Serving { worker } => {
            let leaving = SlotState::Leaving {
                worker,
                deadline,
                replace: false,
            };
            (leaving, Action::Tell(word))
        }
        SlotState::Leaving {
            worker,
            deadline: earlier,
            ..
        } => {
            let leaving = SlotState::Leaving {
                worker,
                deadline: earlier.min(deadline),
                replace: false,
            };
            (leaving, Action::Tell(word))
        }
        SlotState::Killed { worker, .. } => {
            let killed = SlotState::Killed {
                worker,
                replace: false,
            };
            (killed, Action::Nothing)
        }
    }
}

fn leave(slot: SlotState, deadline: Instant, action: Action) -> (SlotState, Action) {
    match slot {
        SlotState::Starting { worker }
        | SlotState::Held { worker }
        | SlotState::Serving { worker } => {
            let leaving = SlotState::Leaving {
                worker,
                deadline,
                replace: true,
            };
            (leaving, action)
        }
        other => (other, Action::Nothing),
    }
}

fn condemn(slot: SlotState) -> (SlotState, Action) {
    let (worker, replace) = match slot {
        SlotState::Starting { worker }
        | SlotState::Held { worker }
        | SlotState::Serving { worker } => (worker, true),
        SlotState::Leaving {
            worker, replace, ..
        } => (worker, replace),
        other => return (other, Action::Nothing),
    };
    (SlotState::Killed { worker, replace }, Action::Kill)
}

fn kill(slot: SlotState) -> (SlotState, Action) {
    match slot {
        SlotState::Empty { .. } | SlotState::Vacant => (SlotState::Vacant, Action::Nothing),
        SlotState::Forking { failures, .. } => {
            let forking = SlotState::Forking {
                failures,
                wanted: false,
            };
            (forking, Action::Nothing)
        }
        SlotState::Starting { worker }
        | SlotState::Held { worker }
        | SlotState::Serving { worker }
        | SlotState::Leaving { worker, .. }
        | SlotState::Killed { worker, .. } => {
            let killed = SlotState::Killed {
                worker,
                replace: false,
            };
            (killed, Action::Kill)
        }
    }
}

fn exited(slot: SlotState, requests: u64, now: Instant) -> SlotState {
    match slot {
        SlotState::Starting { worker } => after_failure(worker.failures, now),
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

    fn after(mut slot: SlotState, events: &[Event], now: Instant) -> (SlotState, Vec<Action>) {
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

    fn serving(now: Instant) -> SlotState {
        let start = [
            Event::Tick,
            Event::Forked(pid()),
            Event::Ready { hold: false },
        ];
        after(SlotState::new(now), &start, now).0
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
        let (slot, actions) = after(SlotState::new(now), &events, now);
        assert!(matches!(slot, SlotState::Serving { worker } if worker.pid == pid()));
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
        let (slot, actions) = after(SlotState::new(now), &events, now);
        assert!(matches!(slot, SlotState::Held { .. }));
        assert_eq!(actions, [Action::Fork]);
        let (slot, action) = step(slot, Event::TakeOver, now);
        assert!(matches!(slot, SlotState::Serving { .. }));
        assert_eq!(action, Action::Tell(ToWorker::Serve));
    }

    #[test]
    fn a_worker_that_dies_after_a_request_is_replaced_at_once() {
        let now = Instant::now();
        let (slot, _) = step(serving(now), Event::Exited { requests: 1 }, now);
        assert_eq!(slot, SlotState::new(now));
    }

    #[test]
    fn a_worker_that_dies_at_start_again_and_again_is_retried_ever_more_slowly() {
        let now = Instant::now();
        let mut slot = SlotState::new(now);
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
        let failed = SlotState::Empty {
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
            SlotState::new(later)
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
            SlotState::new(now)
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
            SlotState::Vacant
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
        let (slot, actions) = after(SlotState::new(now), &events, now);
        assert_eq!(slot, SlotState::Vacant);
        assert_eq!(actions, [Action::Fork, Action::Kill]);
    }

    #[test]
    fn a_fork_that_fails_is_tried_again() {
        let now = Instant::now();
        let (slot, _) = after(SlotState::new(now), &[Event::Tick, Event::NotForked], now);
        assert_eq!(
            slot,
            SlotState::Empty {
                due: now,
                failures: 1
            }
        );
    }

    #[test]
    fn without_a_zygote_an_empty_slot_waits_for_no_time() {
        assert_eq!(SlotState::new(Instant::now()).deadline(false), None);
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
                step(SlotState::Vacant, event, now),
                (SlotState::Vacant, Action::Nothing)
            );
        }
    }
}
