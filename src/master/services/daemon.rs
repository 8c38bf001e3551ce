//! The life of a companion process: a pure function of its state, what happened, and the time.
//!
//! ```text
//!             Spawned             Restart, Stop
//!  Waiting ───────────▶ Running ───────────────▶ Stopping ──▶ Waiting or Gone
//!   │   ▲                  │ Ended
//!   │   └──────────────────┘
//!   └─ with a pidfile ─▶ Watched ──▶ Waiting
//! ```

use std::time::{Duration, Instant};

use crate::master::backoff;
use crate::sys::process::{Exit, Pid};

/// One that lived at least this long had a good start.
const GOOD_START: Duration = Duration::from_secs(10);

/// How often what is left of a group is looked for.
const PROBE: Duration = Duration::from_millis(50);

/// What the configuration says of a companion, as far as its life depends on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Nature {
    /// A pidfile says whether it runs: it outlives the instance.
    pub(super) smart: bool,
    /// How often the pidfile is looked at.
    pub(super) freq: Duration,
    /// The longest pause between two starts.
    pub(super) longest: Option<Duration>,
    /// How long it may take to stop.
    pub(super) mercy: Duration,
}

/// Where a companion is in its life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    /// No process; at `due` one is spawned, or looked for.
    Waiting { due: Instant, failures: u32 },
    /// It runs, as our child.
    Running {
        pid: Pid,
        since: Instant,
        failures: u32,
    },
    /// Its pidfile names a process that lives; to be looked at again at `due`.
    Watched { pid: Pid, due: Instant },
    /// It was told to stop.
    Stopping {
        pid: Pid,
        /// Then it is killed; `None`: it was.
        deadline: Option<Instant>,
        /// Another one is started when it is gone.
        again: bool,
    },
    /// Its first process has ended as it was told, and others of its group have not yet.
    Lingering {
        pid: Pid,
        /// Then they are killed.
        deadline: Instant,
        again: bool,
        /// When they are looked for next.
        look: Instant,
    },
    /// Nothing is left of it, as far as we care.
    Gone,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    /// Time has passed.
    Tick,
    /// The command runs.
    Spawned(Pid),
    /// It could not be executed.
    NotSpawned,
    /// The pidfile names this process, which lives; or no such.
    Seen(Option<Pid>),
    /// This child has ended, and all of its group.
    Ended(Exit),
    /// This child has ended, as it was told, but not all of its group.
    Left,
    /// It is to stop and to be started again.
    Restart,
    /// It is not wanted any more.
    Stop,
    /// The same, at once.
    Kill,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Action {
    Nothing,
    /// Spawn the command.
    Spawn,
    /// Look whether the process of the pidfile lives.
    Look,
    /// Ask its processes to stop.
    Tell(Pid),
    /// Kill its processes.
    Kill(Pid),
    /// Look whether processes of its group live.
    Probe(Pid),
}

impl State {
    /// A companion to be started now.
    pub(super) fn new(now: Instant) -> Self {
        Self::Waiting {
            due: now,
            failures: 0,
        }
    }

    /// The process that is our child.
    pub(super) fn child(&self) -> Option<Pid> {
        match *self {
            Self::Running { pid, .. } | Self::Stopping { pid, .. } => Some(pid),
            _ => None,
        }
    }

    /// Whether it has been told to stop for good and has not done so yet.
    pub(super) fn is_leaving(&self) -> bool {
        matches!(
            self,
            Self::Stopping { again: false, .. } | Self::Lingering { again: false, .. }
        )
    }

    /// Whether nothing runs of it, but something will.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting { .. })
    }

    /// When [`Event::Tick`] has to come.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match *self {
            Self::Waiting { due, .. } | Self::Watched { due, .. } => Some(due),
            Self::Stopping { deadline, .. } => deadline,
            Self::Lingering { deadline, look, .. } => Some(deadline.min(look)),
            Self::Running { .. } | Self::Gone => None,
        }
    }
}

/// What follows from `event`.
pub(super) fn step(state: State, event: Event, now: Instant, nature: &Nature) -> (State, Action) {
    use Event as E;
    use State as S;
    match (state, event) {
        (S::Waiting { due, .. } | S::Watched { due, .. }, E::Tick) if due <= now => {
            let look = nature.smart;
            (state, if look { Action::Look } else { Action::Spawn })
        }
        (S::Waiting { .. } | S::Watched { .. }, E::Seen(Some(pid))) => {
            let due = now + nature.freq;
            (S::Watched { pid, due }, Action::Nothing)
        }
        (S::Waiting { .. }, E::Seen(None)) => (state, Action::Spawn),
        (S::Watched { .. }, E::Seen(None)) => (S::new(now), Action::Spawn),
        (S::Waiting { failures, .. }, E::Spawned(pid)) => {
            let since = now;
            (
                S::Running {
                    pid,
                    since,
                    failures,
                },
                Action::Nothing,
            )
        }
        (S::Waiting { failures, .. }, E::NotSpawned) => {
            (waiting(failures + 1, now, nature), Action::Nothing)
        }
        (
            S::Running {
                since, failures, ..
            },
            E::Ended(exit),
        ) => (
            after(exit, now - since, failures, now, nature),
            Action::Nothing,
        ),
        // the process of the pidfile was adopted by us: it is not to be waited for until the next look
        (S::Watched { pid, .. }, E::Ended(_)) => (S::Watched { pid, due: now }, Action::Nothing),
        (S::Stopping { again, .. }, E::Ended(_)) => (gone(again, now), Action::Nothing),
        (
            S::Stopping {
                pid,
                deadline: Some(due),
                again,
            },
            E::Tick,
        ) if due <= now => {
            let deadline = None;
            (
                S::Stopping {
                    pid,
                    deadline,
                    again,
                },
                Action::Kill(pid),
            )
        }
        (S::Running { pid, .. }, E::Restart) => {
            (stopping(pid, true, now, nature), Action::Tell(pid))
        }
        (
            S::Stopping {
                pid,
                deadline: Some(deadline),
                again,
            },
            E::Left,
        ) => (lingering(pid, deadline, again, now), Action::Tell(pid)),
        (
            S::Lingering {
                pid,
                deadline,
                again,
                ..
            },
            E::Left,
        ) => (lingering(pid, deadline, again, now), Action::Nothing),
        (
            S::Lingering {
                pid,
                deadline,
                again,
                ..
            },
            E::Tick,
        ) if deadline <= now => (gone(again, now), Action::Kill(pid)),
        (S::Lingering { pid, look, .. }, E::Tick) if look <= now => (state, Action::Probe(pid)),
        (S::Lingering { again, .. }, E::Ended(_)) => (gone(again, now), Action::Nothing),
        (
            S::Lingering {
                pid,
                deadline,
                look,
                ..
            },
            E::Stop,
        ) => {
            let again = false;
            let state = S::Lingering {
                pid,
                deadline,
                again,
                look,
            };
            (state, Action::Nothing)
        }
        (S::Lingering { pid, .. }, E::Kill) => (S::Gone, Action::Kill(pid)),
        // its end is seen, or looked for as usual
        (S::Watched { pid, .. }, E::Restart) => (state, Action::Tell(pid)),
        (S::Waiting { .. }, E::Restart) => (S::new(now), Action::Nothing),
        // what outlives the instance is left alone
        (S::Running { .. } | S::Watched { .. }, E::Stop | E::Kill) if nature.smart => {
            (S::Gone, Action::Nothing)
        }
        (S::Running { pid, .. }, E::Stop) => (stopping(pid, false, now, nature), Action::Tell(pid)),
        (S::Stopping { pid, deadline, .. }, E::Stop) => {
            let again = false;
            (
                S::Stopping {
                    pid,
                    deadline,
                    again,
                },
                Action::Nothing,
            )
        }
        (S::Running { pid, .. } | S::Stopping { pid, .. }, E::Kill) => {
            let (deadline, again) = (None, false);
            (
                S::Stopping {
                    pid,
                    deadline,
                    again,
                },
                Action::Kill(pid),
            )
        }
        (S::Waiting { .. }, E::Stop | E::Kill) => (S::Gone, Action::Nothing),
        _ => (state, Action::Nothing),
    }
}

fn waiting(failures: u32, now: Instant, nature: &Nature) -> State {
    let pause = backoff::pause(failures);
    let pause = nature.longest.map_or(pause, |longest| pause.min(longest));
    State::Waiting {
        due: now + pause,
        failures,
    }
}

fn lingering(pid: Pid, deadline: Instant, again: bool, now: Instant) -> State {
    State::Lingering {
        pid,
        deadline,
        again,
        look: now + PROBE,
    }
}

/// What comes after the end of one that was asked to stop.
fn gone(again: bool, now: Instant) -> State {
    if again { State::new(now) } else { State::Gone }
}

fn stopping(pid: Pid, again: bool, now: Instant, nature: &Nature) -> State {
    State::Stopping {
        pid,
        deadline: Some(now + nature.mercy),
        again,
    }
}

/// What comes after the end of a command that was not asked to stop.
fn after(exit: Exit, age: Duration, failures: u32, now: Instant, nature: &Nature) -> State {
    if nature.smart && exit == Exit::Status(0) {
        // it went to the background: its pidfile may take a moment
        return State::Waiting {
            due: now + nature.freq,
            failures: 0,
        };
    }
    let failures = if age >= GOOD_START { 1 } else { failures + 1 };
    waiting(failures, now, nature)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DUMB: Nature = Nature {
        smart: false,
        freq: Duration::from_secs(10),
        longest: None,
        mercy: Duration::from_secs(10),
    };
    const SMART: Nature = Nature {
        smart: true,
        ..DUMB
    };

    fn pid(id: i32) -> Pid {
        Pid::new(id).unwrap()
    }

    fn running(now: Instant, nature: &Nature) -> State {
        step(State::new(now), Event::Spawned(pid(7)), now, nature).0
    }

    #[test]
    fn it_is_spawned_when_due_and_again_when_it_ends() {
        let now = Instant::now();
        let state = State::new(now);
        assert_eq!(step(state, Event::Tick, now, &DUMB).1, Action::Spawn);
        let later = now + GOOD_START;
        let (state, action) = step(
            running(now, &DUMB),
            Event::Ended(Exit::Status(1)),
            later,
            &DUMB,
        );
        assert_eq!(action, Action::Nothing);
        assert_eq!(state.deadline(), Some(later));
    }

    #[test]
    fn the_pause_grows_with_each_short_life_up_to_its_longest() {
        let now = Instant::now();
        let pauses = |nature: Nature| {
            let mut state = State::new(now);
            let mut pauses = Vec::new();
            for _ in 0..12 {
                (state, _) = step(state, Event::Spawned(pid(7)), now, &nature);
                (state, _) = step(state, Event::Ended(Exit::Status(0)), now, &nature);
                pauses.push((state.deadline().unwrap() - now).as_millis());
            }
            pauses
        };
        assert_eq!(pauses(DUMB)[..5], [0, 100, 200, 400, 800]);
        assert_eq!(pauses(DUMB)[11], 30_000);
        let longest = Some(Duration::from_secs(5));
        assert_eq!(pauses(Nature { longest, ..DUMB })[11], 5_000);
    }

    #[test]
    fn one_that_does_not_stop_is_killed_when_its_mercy_is_over() {
        let now = Instant::now();
        let (state, action) = step(running(now, &DUMB), Event::Stop, now, &DUMB);
        assert_eq!(action, Action::Tell(pid(7)));
        assert_eq!(step(state, Event::Tick, now, &DUMB).1, Action::Nothing);
        let over = now + DUMB.mercy;
        let (state, action) = step(state, Event::Tick, over, &DUMB);
        assert_eq!((action, state.deadline()), (Action::Kill(pid(7)), None));
        let ended = Event::Ended(Exit::Signal(9));
        assert_eq!(step(state, ended, over, &DUMB).0, State::Gone);
    }

    #[test]
    fn what_its_first_process_leaves_behind_may_finish_too() {
        let now = Instant::now();
        let (state, _) = step(running(now, &DUMB), Event::Stop, now, &DUMB);
        let (state, action) = step(state, Event::Left, now, &DUMB);
        assert_eq!(action, Action::Tell(pid(7)));
        let look = state.deadline().unwrap();
        assert_eq!(look, now + PROBE);
        assert_eq!(
            step(state, Event::Tick, look, &DUMB).1,
            Action::Probe(pid(7))
        );
        let ended = Event::Ended(Exit::Status(0));
        assert_eq!(step(state, ended, look, &DUMB).0, State::Gone);
        let over = now + DUMB.mercy;
        let end = step(state, Event::Tick, over, &DUMB);
        assert_eq!(end, (State::Gone, Action::Kill(pid(7))));
    }

    #[test]
    fn a_restart_starts_another_one_and_a_stop_takes_that_back() {
        let now = Instant::now();
        let (state, _) = step(running(now, &DUMB), Event::Restart, now, &DUMB);
        let ended = Event::Ended(Exit::Status(0));
        assert_eq!(step(state, ended, now, &DUMB).0, State::new(now));
        let (state, _) = step(state, Event::Stop, now, &DUMB);
        assert_eq!(step(state, ended, now, &DUMB).0, State::Gone);
    }

    #[test]
    fn one_with_a_pidfile_is_looked_for_before_it_is_spawned() {
        let now = Instant::now();
        let state = State::new(now);
        assert_eq!(step(state, Event::Tick, now, &SMART).1, Action::Look);
        let (watched, _) = step(state, Event::Seen(Some(pid(9))), now, &SMART);
        assert_eq!(watched.deadline(), Some(now + SMART.freq));
        assert_eq!(
            step(watched, Event::Seen(None), now, &SMART).1,
            Action::Spawn
        );
        let told = step(watched, Event::Restart, now, &SMART);
        assert_eq!(told, (watched, Action::Tell(pid(9))));
        assert_eq!(
            step(watched, Event::Stop, now, &SMART),
            (State::Gone, Action::Nothing)
        );
    }

    #[test]
    fn one_that_goes_to_the_background_gets_time_for_its_pidfile() {
        let now = Instant::now();
        let state = running(now, &SMART);
        let (state, _) = step(state, Event::Ended(Exit::Status(0)), now, &SMART);
        assert_eq!(state.deadline(), Some(now + SMART.freq));
    }

    #[test]
    fn one_that_outlives_the_instance_is_not_told_to_stop() {
        let now = Instant::now();
        for event in [Event::Stop, Event::Kill] {
            let end = step(running(now, &SMART), event, now, &SMART);
            assert_eq!(end, (State::Gone, Action::Nothing));
        }
    }
}
