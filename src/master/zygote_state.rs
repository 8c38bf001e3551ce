//! The life of a generation: its zygote's states, where it stands, and what a failure means for it.
//! Pure functions, as in `slot.rs`.
//!
//! ```text
//!          Tick              Loaded            Close
//!  Absent ──────▶ Loading ───────────▶ Loaded ───────▶ Closing ──▶ Killed ──▶ Gone
//!    ▲               │                    │
//!    └───────────────┴────────────────────┘ Exited
//! ```

use std::time::{Duration, Instant};

use crate::sys::process::Pid;

use super::backoff;
use super::slot::GOOD_START;

/// How long a zygote that said it goes may take to do so.
const ENDING_TIME: Duration = Duration::from_secs(2);

/// Failures that are remembered of a zygote which did load: a pause of 0.4 s.
const MOST_AFTER_LOADING: u32 = 4;

/// The process that forks a generation's workers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Zygote {
    /// No process; the next is to be spawned at `due`.
    Absent {
        due: Instant,
        /// Starts that failed, one after the other.
        failures: u32,
    },
    /// Importing the application.
    Loading { process: Process },
    /// Able to fork.
    Loaded { process: Process },
    /// No longer needed, but a fork is under way.
    Closing { pid: Pid, deadline: Instant },
    /// It said that it goes, or its channel ended; killed if its process is still there at `deadline`.
    Ending {
        process: Process,
        /// It had loaded the application.
        loaded: bool,
        deadline: Instant,
    },
    /// Killed because it is no longer needed; its end has not been seen yet.
    Killed { pid: Pid },
    /// No process, and none wanted.
    Gone,
}

/// A zygote's process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) since: Instant,
    /// Starts that failed before this one.
    pub(super) failures: u32,
}

/// What can happen to a zygote.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    /// Time has passed; `forking`: a fork is under way.
    Tick { forking: bool },
    /// It was spawned.
    Spawned(Pid),
    /// It could not be spawned.
    NotSpawned,
    /// The application is imported.
    Loaded,
    /// It said that it goes, or its channel ended.
    Ending,
    /// The generation needs it no more; a fork under way has until `deadline`.
    Close { forking: bool, deadline: Instant },
    /// Its process has ended.
    Exited,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    Spawn,
    Kill,
}

impl Zygote {
    /// A zygote that is due now.
    pub(super) fn new(now: Instant) -> Self {
        Self::Absent {
            due: now,
            failures: 0,
        }
    }

    /// Its process.
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

    /// When an [`Event::Tick`] has to come.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match *self {
            Self::Absent { due, .. } => Some(due),
            Self::Closing { deadline, .. } | Self::Ending { deadline, .. } => Some(deadline),
            _ => None,
        }
    }
}

/// The next state, and what to do.
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
                process.failures = process.failures.min(MOST_AFTER_LOADING);
                (Zygote::Loaded { process }, Action::Nothing)
            }
            other => (other, Action::Nothing),
        },
        Event::Ending => (ending(zygote, now), Action::Nothing),
        Event::Close { forking, deadline } => close(zygote, forking, deadline),
        Event::Exited => (exited(zygote, now), Action::Nothing),
    }
}

fn tick(zygote: Zygote, forking: bool, now: Instant) -> (Zygote, Action) {
    match zygote {
        Zygote::Absent { due, .. } if due <= now => (zygote, Action::Spawn),
        Zygote::Ending {
            process,
            loaded,
            deadline,
        } if deadline <= now => {
            let ending = Zygote::Ending {
                process,
                loaded,
                deadline: now + ENDING_TIME,
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

fn ending(zygote: Zygote, now: Instant) -> Zygote {
    let deadline = now + ENDING_TIME;
    match zygote {
        Zygote::Loading { process } => Zygote::Ending {
            process,
            loaded: false,
            deadline,
        },
        Zygote::Loaded { process } => Zygote::Ending {
            process,
            loaded: true,
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
            loaded: false,
            ..
        } => after_failure(process.failures, now),
        Zygote::Loaded { process }
        | Zygote::Ending {
            process,
            loaded: true,
            ..
        } => after_life(process, now),
        Zygote::Closing { .. } | Zygote::Killed { .. } => Zygote::Gone,
        other => other,
    }
}

/// What had loaded will load again: the pause stays short, because without a zygote no worker can be replaced.
fn after_life(process: Process, now: Instant) -> Zygote {
    if now.duration_since(process.since) >= GOOD_START {
        return Zygote::new(now);
    }
    // nor may it count towards the long pauses of one that never loads
    let failures = process.failures.saturating_add(1).min(MOST_AFTER_LOADING);
    Zygote::Absent {
        due: now + backoff::pause(failures),
        failures,
    }
}

fn after_failure(failures: u32, now: Instant) -> Zygote {
    let failures = failures.saturating_add(1);
    Zygote::Absent {
        due: now + backoff::pause(failures),
        failures,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pid() -> Pid {
        Pid::new(70).unwrap()
    }

    fn after(mut zygote: Zygote, events: &[Event], now: Instant) -> (Zygote, Vec<Action>) {
        let mut actions = Vec::new();
        for event in events {
            let action;
            (zygote, action) = step(zygote, *event, now);
            if action != Action::Nothing {
                actions.push(action);
            }
        }
        (zygote, actions)
    }

    const TICK: Event = Event::Tick { forking: false };

    #[test]
    fn a_zygote_is_spawned_when_it_is_due_and_forks_when_it_has_loaded() {
        let now = Instant::now();
        let events = [TICK, Event::Spawned(pid()), TICK, Event::Loaded];
        let (zygote, actions) = after(Zygote::new(now), &events, now);
        assert_eq!(actions, [Action::Spawn]);
        assert!(zygote.forks());
        assert_eq!(zygote.deadline(), None);
    }

    fn pauses(events: &[Event]) -> Vec<u128> {
        let now = Instant::now();
        let mut zygote = Zygote::new(now);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let due = zygote.deadline().unwrap();
            pauses.push((due - now).as_millis());
            (zygote, _) = after(zygote, events, due);
            (zygote, _) = step(zygote, Event::Exited, now);
        }
        pauses
    }

    #[test]
    fn a_zygote_that_dies_over_loading_is_spawned_again_at_once_and_then_ever_more_slowly() {
        let pauses = pauses(&[TICK, Event::Spawned(pid())]);
        assert_eq!(pauses, [0, 0, 100, 200, 400, 800, 1600]);
    }

    #[test]
    fn a_zygote_that_dies_after_loading_is_never_missed_for_long() {
        let pauses = pauses(&[TICK, Event::Spawned(pid()), Event::Loaded]);
        assert_eq!(pauses, [0, 0, 100, 200, 400, 400, 400]);
    }

    #[test]
    fn deaths_after_loading_do_not_make_a_later_one_over_loading_a_long_pause() {
        let now = Instant::now();
        let mut zygote = Zygote::new(now);
        for _ in 0..20 {
            let due = zygote.deadline().unwrap();
            let life = [TICK, Event::Spawned(pid()), Event::Loaded, Event::Exited];
            (zygote, _) = after(zygote, &life, due);
        }
        let due = zygote.deadline().unwrap();
        (zygote, _) = after(zygote, &[TICK, Event::Spawned(pid()), Event::Exited], due);
        assert_eq!((zygote.deadline().unwrap() - due).as_millis(), 800);
    }

    #[test]
    fn a_zygote_that_lived_a_while_begins_a_new_series() {
        let now = Instant::now();
        let failed = Zygote::Absent {
            due: now,
            failures: 4,
        };
        let (zygote, _) = after(failed, &[TICK, Event::Spawned(pid()), Event::Loaded], now);
        let later = now + Duration::from_secs(5);
        assert_eq!(step(zygote, Event::Exited, later).0, Zygote::new(later));
    }

    #[test]
    fn a_zygote_whose_channel_ended_is_replaced_when_it_has_gone_and_killed_if_it_does_not_go() {
        let now = Instant::now();
        let events = [
            TICK,
            Event::Spawned(pid()),
            Event::Loaded,
            Event::Ending,
            TICK,
        ];
        let (zygote, actions) = after(Zygote::new(now), &events, now);
        assert_eq!(actions, [Action::Spawn]);
        assert!(!zygote.forks());
        let late = zygote.deadline().unwrap();
        let (zygote, action) = step(zygote, TICK, late);
        assert_eq!(action, Action::Kill);
        assert_eq!(step(zygote, Event::Exited, late).0, Zygote::new(late));
    }

    #[test]
    fn a_zygote_is_let_go_only_when_no_fork_is_under_way() {
        let now = Instant::now();
        let deadline = now + Duration::from_secs(60);
        let close = Event::Close {
            forking: true,
            deadline,
        };
        let (zygote, _) = after(
            Zygote::new(now),
            &[TICK, Event::Spawned(pid()), Event::Loaded],
            now,
        );
        let (zygote, action) = step(zygote, close, now);
        assert_eq!(action, Action::Nothing);
        assert_eq!(
            step(zygote, Event::Tick { forking: true }, now).1,
            Action::Nothing
        );
        assert_eq!(
            step(zygote, Event::Tick { forking: true }, deadline).1,
            Action::Kill
        );
        let (zygote, action) = step(zygote, TICK, now);
        assert_eq!(action, Action::Kill);
        assert_eq!(step(zygote, Event::Exited, now).0, Zygote::Gone);
    }

    #[test]
    fn a_zygote_that_still_loads_is_let_go_at_once() {
        let now = Instant::now();
        let close = Event::Close {
            forking: false,
            deadline: now,
        };
        let (zygote, actions) = after(
            Zygote::new(now),
            &[TICK, Event::Spawned(pid()), close, Event::Exited],
            now,
        );
        assert_eq!(actions, [Action::Spawn, Action::Kill]);
        assert_eq!(zygote, Zygote::Gone);
        assert_eq!(step(zygote, TICK, now), (Zygote::Gone, Action::Nothing));
    }
}
