//! The life cycle of a daemon: a pure function of its state, an event and the time.
//!
//! ```text
//!             Spawned             Restart, Stop             GroupAlive
//!  Waiting ───────────▶ Running ───────────────▶ Stopping ────────────▶ Draining
//!   │   ▲                  │                        │ │                    │
//!   │   └──── Exited ──────┘          mercy is over │ └──── Exited ───┐    │ Exited
//!   │                                               ▼                 ▼    ▼
//!   └─ with a pidfile ─▶ Monitored ──▶ Waiting    Killed ─ Exited ─▶ Waiting or Gone
//! ```

use std::time::{Duration, Instant};

use crate::master::respawn_delay;
use crate::sys::process::{Exit, Pid};

/// Run time of a process after which its backoff is reset.
const BACKOFF_RESET: Duration = Duration::from_secs(10);

/// Interval between two checks of whether the rest of a process group has exited.
const GROUP_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// The settings of a daemon that affect its life cycle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Policy {
    /// Whether the daemon has a pidfile, so that it outlives the instance.
    pub(super) has_pidfile: bool,
    /// Interval between two checks of the pidfile (`freq`).
    pub(super) pidfile_interval: Duration,
    /// Maximum backoff (`max_throttle`); `None` for the default.
    pub(super) max_backoff: Option<Duration>,
    /// Time between the stop signal and SIGKILL (`mercy`).
    pub(super) mercy: Duration,
}

/// The state of a daemon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    /// There is no process. At `due` the command is spawned, or the pidfile is checked if the daemon has one.
    Waiting { due: Instant, failures: u32 },
    /// The process is a child of the master.
    Running {
        pid: Pid,
        since: Instant,
        failures: u32,
    },
    /// The process was found through the pidfile. The pidfile is checked again at `due`.
    Monitored { pid: Pid, due: Instant },
    /// The process has received the stop signal and is killed at `deadline`.
    Stopping {
        pid: Pid,
        deadline: Instant,
        then: AfterStop,
    },
    /// The process group has received SIGKILL.
    Killed { pid: Pid, then: AfterStop },
    /// The process has exited after the stop signal. The rest of its process group is killed at `deadline`.
    Draining {
        pid: Pid,
        deadline: Instant,
        then: AfterStop,
        /// The time at which the group is checked next.
        next_check: Instant,
    },
    /// The daemon is removed; a process with a pidfile may still run.
    Gone,
}

/// The next step after a stopped daemon has exited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum AfterStop {
    /// The daemon is started again.
    Restart,
    /// The daemon is removed.
    Remove,
}

/// An event that concerns a daemon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    /// Time has passed.
    Tick,
    /// The command was spawned.
    Spawned(Pid),
    /// The command could not be spawned.
    SpawnFailed,
    /// The pidfile was checked. It names this live process; `None` if it names no live process.
    PidfileChecked(Option<Pid>),
    /// The child and its process group have exited.
    Exited(Exit),
    /// The child has exited, and other processes of its process group have not.
    GroupAlive,
    /// The daemon is requested to restart.
    Restart,
    /// The daemon is requested to stop.
    Stop,
    /// The daemon is requested to end at once.
    Kill,
}

/// The action for the caller to perform.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Action {
    None,
    /// Spawn the command.
    Spawn,
    /// Check whether the process of the pidfile lives.
    CheckPidfile,
    /// Send the stop signal.
    Stop(Pid),
    /// Kill the process group at once.
    Kill(Pid),
    /// Kill the process group, which has not exited within `mercy`.
    KillOverdue(Pid),
    /// Check whether the process group lives.
    CheckGroup(Pid),
}

impl State {
    /// Creates the state of a daemon that is due to be started now.
    pub(super) fn new(now: Instant) -> Self {
        Self::Waiting {
            due: now,
            failures: 0,
        }
    }

    /// The process id of the child of the master; `None` if the daemon has no such process.
    pub(super) fn child(&self) -> Option<Pid> {
        match *self {
            Self::Running { pid, .. } | Self::Stopping { pid, .. } | Self::Killed { pid, .. } => {
                Some(pid)
            }
            _ => None,
        }
    }

    /// Whether the daemon stops and is removed after its exit.
    pub(super) fn is_leaving(&self) -> bool {
        match self {
            Self::Stopping { then, .. }
            | Self::Killed { then, .. }
            | Self::Draining { then, .. } => *then == AfterStop::Remove,
            _ => false,
        }
    }

    /// Whether the daemon has no process and is due to be started.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting { .. })
    }

    /// The time at which the next [`Event::Tick`] is due; `None` if no tick is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match *self {
            Self::Waiting { due, .. } | Self::Monitored { due, .. } => Some(due),
            Self::Stopping { deadline, .. } => Some(deadline),
            Self::Draining {
                deadline,
                next_check,
                ..
            } => Some(deadline.min(next_check)),
            Self::Running { .. } | Self::Killed { .. } | Self::Gone => None,
        }
    }
}

/// Returns the next state, and the action for the caller to perform.
pub(super) fn step(state: State, event: Event, now: Instant, policy: &Policy) -> (State, Action) {
    let next = match state {
        State::Waiting { due, failures } => step_waiting(due, failures, event, now, policy),
        State::Running {
            pid,
            since,
            failures,
        } => match event {
            Event::Exited(exit) => {
                let age = now - since;
                let next = after_exit(exit, age, failures, now, policy);
                Some((next, Action::None))
            }
            event => step_running(pid, event, now, policy),
        },
        State::Monitored { pid, due } => step_monitored(pid, due, event, now, policy),
        State::Stopping {
            pid,
            deadline,
            then,
        } => step_stopping(pid, deadline, then, event, now),
        State::Killed { pid, then } => step_killed(pid, then, event, now),
        State::Draining { .. } => step_draining(state, event, now),
        State::Gone => None,
    };
    next.unwrap_or((state, Action::None))
}

fn step_waiting(
    due: Instant,
    failures: u32,
    event: Event,
    now: Instant,
    policy: &Policy,
) -> Option<(State, Action)> {
    let waiting = State::Waiting { due, failures };
    Some(match event {
        Event::Tick if due <= now && policy.has_pidfile => (waiting, Action::CheckPidfile),
        Event::Tick if due <= now => (waiting, Action::Spawn),
        Event::PidfileChecked(Some(pid)) => (monitored(pid, now, policy), Action::None),
        Event::PidfileChecked(None) => (waiting, Action::Spawn),
        Event::Spawned(pid) => {
            let running = State::Running {
                pid,
                since: now,
                failures,
            };
            (running, Action::None)
        }
        Event::SpawnFailed => (backing_off(failures + 1, now, policy), Action::None),
        Event::Restart => (State::new(now), Action::None),
        Event::Stop | Event::Kill => (State::Gone, Action::None),
        _ => return None,
    })
}

fn step_running(pid: Pid, event: Event, now: Instant, policy: &Policy) -> Option<(State, Action)> {
    let stopping = |then| State::Stopping {
        pid,
        deadline: now + policy.mercy,
        then,
    };
    Some(match event {
        Event::Stop | Event::Kill if policy.has_pidfile => (State::Gone, Action::None),
        Event::Restart => (stopping(AfterStop::Restart), Action::Stop(pid)),
        Event::Stop => (stopping(AfterStop::Remove), Action::Stop(pid)),
        Event::Kill => (killed(pid, AfterStop::Remove), Action::Kill(pid)),
        _ => return None,
    })
}

fn step_monitored(
    pid: Pid,
    due: Instant,
    event: Event,
    now: Instant,
    policy: &Policy,
) -> Option<(State, Action)> {
    let monitored_until = |due| State::Monitored { pid, due };
    Some(match event {
        Event::Tick if due <= now => (monitored_until(due), Action::CheckPidfile),
        Event::PidfileChecked(Some(pid)) => (monitored(pid, now, policy), Action::None),
        Event::PidfileChecked(None) => (State::new(now), Action::Spawn),
        // the master is the subreaper and has adopted the process, so it has reaped it; the pidfile is checked now
        Event::Exited(_) => (monitored_until(now), Action::None),
        // the next check of the pidfile finds that the process has exited
        Event::Restart => (monitored_until(due), Action::Stop(pid)),
        Event::Stop | Event::Kill => (State::Gone, Action::None),
        _ => return None,
    })
}

fn step_stopping(
    pid: Pid,
    deadline: Instant,
    then: AfterStop,
    event: Event,
    now: Instant,
) -> Option<(State, Action)> {
    Some(match event {
        Event::Exited(_) => (after_stop(then, now), Action::None),
        Event::GroupAlive => (draining(pid, deadline, then, now), Action::Stop(pid)),
        Event::Tick if deadline <= now => (killed(pid, then), Action::KillOverdue(pid)),
        Event::Stop => {
            let stopping = State::Stopping {
                pid,
                deadline,
                then: AfterStop::Remove,
            };
            (stopping, Action::None)
        }
        Event::Kill => (killed(pid, AfterStop::Remove), Action::Kill(pid)),
        _ => return None,
    })
}

fn step_killed(pid: Pid, then: AfterStop, event: Event, now: Instant) -> Option<(State, Action)> {
    Some(match event {
        Event::Exited(_) => (after_stop(then, now), Action::None),
        Event::Stop => (killed(pid, AfterStop::Remove), Action::None),
        Event::Kill => (killed(pid, AfterStop::Remove), Action::Kill(pid)),
        _ => return None,
    })
}

fn step_draining(state: State, event: Event, now: Instant) -> Option<(State, Action)> {
    let State::Draining {
        pid,
        deadline,
        then,
        next_check,
    } = state
    else {
        return None;
    };
    Some(match event {
        Event::Exited(_) => (after_stop(then, now), Action::None),
        Event::GroupAlive => (draining(pid, deadline, then, now), Action::None),
        Event::Tick if deadline <= now => (after_stop(then, now), Action::KillOverdue(pid)),
        Event::Tick if next_check <= now => (state, Action::CheckGroup(pid)),
        Event::Stop => {
            let draining = State::Draining {
                pid,
                deadline,
                then: AfterStop::Remove,
                next_check,
            };
            (draining, Action::None)
        }
        Event::Kill => (State::Gone, Action::Kill(pid)),
        _ => return None,
    })
}

fn monitored(pid: Pid, now: Instant, policy: &Policy) -> State {
    let due = now + policy.pidfile_interval;
    State::Monitored { pid, due }
}

fn backing_off(failures: u32, now: Instant, policy: &Policy) -> State {
    let pause = respawn_delay::after(failures);
    let pause = policy.max_backoff.map_or(pause, |max| pause.min(max));
    State::Waiting {
        due: now + pause,
        failures,
    }
}

fn killed(pid: Pid, then: AfterStop) -> State {
    State::Killed { pid, then }
}

fn draining(pid: Pid, deadline: Instant, then: AfterStop, now: Instant) -> State {
    State::Draining {
        pid,
        deadline,
        then,
        next_check: now + GROUP_CHECK_INTERVAL,
    }
}

/// Returns the state after the exit of a process that was stopped.
fn after_stop(then: AfterStop, now: Instant) -> State {
    match then {
        AfterStop::Restart => State::new(now),
        AfterStop::Remove => State::Gone,
    }
}

/// Returns the state after the exit of a process that was not stopped.
fn after_exit(exit: Exit, age: Duration, failures: u32, now: Instant, policy: &Policy) -> State {
    if policy.has_pidfile && exit == Exit::Status(0) {
        // the command has gone to the background and may need a moment to write its pidfile
        return State::Waiting {
            due: now + policy.pidfile_interval,
            failures: 0,
        };
    }
    let failures = if age >= BACKOFF_RESET {
        1
    } else {
        failures + 1
    };
    backing_off(failures, now, policy)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FOREGROUND: Policy = Policy {
        has_pidfile: false,
        pidfile_interval: Duration::from_secs(10),
        max_backoff: None,
        mercy: Duration::from_secs(10),
    };
    const PIDFILE: Policy = Policy {
        has_pidfile: true,
        ..FOREGROUND
    };

    fn pid(id: i32) -> Pid {
        Pid::new(id).unwrap()
    }

    fn running(now: Instant, policy: &Policy) -> State {
        step(State::new(now), Event::Spawned(pid(7)), now, policy).0
    }

    #[test]
    fn it_is_spawned_when_due_and_again_when_it_exits() {
        let now = Instant::now();
        let state = State::new(now);
        assert_eq!(step(state, Event::Tick, now, &FOREGROUND).1, Action::Spawn);
        let later = now + BACKOFF_RESET;
        let running = running(now, &FOREGROUND);
        let exited = Event::Exited(Exit::Status(1));
        let (state, action) = step(running, exited, later, &FOREGROUND);
        assert_eq!(action, Action::None);
        assert_eq!(state.deadline(), Some(later));
    }

    #[test]
    fn the_backoff_grows_with_each_short_life_up_to_its_maximum() {
        let now = Instant::now();
        let pauses = |policy: Policy| {
            let mut state = State::new(now);
            let mut pauses = Vec::new();
            for _ in 0..12 {
                (state, _) = step(state, Event::Spawned(pid(7)), now, &policy);
                (state, _) = step(state, Event::Exited(Exit::Status(0)), now, &policy);
                pauses.push((state.deadline().unwrap() - now).as_millis());
            }
            pauses
        };
        assert_eq!(pauses(FOREGROUND)[..5], [0, 100, 200, 400, 800]);
        assert_eq!(pauses(FOREGROUND)[11], 30_000);
        let max_backoff = Some(Duration::from_secs(5));
        let policy = Policy {
            max_backoff,
            ..FOREGROUND
        };
        assert_eq!(pauses(policy)[11], 5_000);
    }

    #[test]
    fn one_that_does_not_stop_is_killed_when_its_mercy_is_over() {
        let now = Instant::now();
        let (state, action) = step(running(now, &FOREGROUND), Event::Stop, now, &FOREGROUND);
        assert_eq!(action, Action::Stop(pid(7)));
        assert_eq!(step(state, Event::Tick, now, &FOREGROUND).1, Action::None);
        let over = now + FOREGROUND.mercy;
        let (state, action) = step(state, Event::Tick, over, &FOREGROUND);
        assert_eq!(action, Action::KillOverdue(pid(7)));
        assert_eq!(state.deadline(), None);
        let exited = Event::Exited(Exit::Signal(9));
        assert_eq!(step(state, exited, over, &FOREGROUND).0, State::Gone);
    }

    #[test]
    fn the_rest_of_a_process_group_may_finish_too() {
        let now = Instant::now();
        let (state, _) = step(running(now, &FOREGROUND), Event::Stop, now, &FOREGROUND);
        let (state, action) = step(state, Event::GroupAlive, now, &FOREGROUND);
        assert_eq!(action, Action::Stop(pid(7)));
        let check = state.deadline().unwrap();
        assert_eq!(check, now + GROUP_CHECK_INTERVAL);
        assert_eq!(
            step(state, Event::Tick, check, &FOREGROUND).1,
            Action::CheckGroup(pid(7))
        );
        let exited = Event::Exited(Exit::Status(0));
        assert_eq!(step(state, exited, check, &FOREGROUND).0, State::Gone);
        let over = now + FOREGROUND.mercy;
        let end = step(state, Event::Tick, over, &FOREGROUND);
        assert_eq!(end, (State::Gone, Action::KillOverdue(pid(7))));
    }

    #[test]
    fn a_stop_cancels_a_restart() {
        let now = Instant::now();
        let running = running(now, &FOREGROUND);
        let (state, _) = step(running, Event::Restart, now, &FOREGROUND);
        let exited = Event::Exited(Exit::Status(0));
        assert_eq!(step(state, exited, now, &FOREGROUND).0, State::new(now));
        let (state, _) = step(state, Event::Stop, now, &FOREGROUND);
        assert_eq!(step(state, exited, now, &FOREGROUND).0, State::Gone);
    }

    #[test]
    fn a_pidfile_is_checked_before_the_command_is_spawned() {
        let now = Instant::now();
        let state = State::new(now);
        let checked = |state, pid| step(state, Event::PidfileChecked(pid), now, &PIDFILE);
        assert_eq!(
            step(state, Event::Tick, now, &PIDFILE).1,
            Action::CheckPidfile
        );
        assert_eq!(checked(state, None).1, Action::Spawn);
        let (monitored, _) = checked(state, Some(pid(9)));
        assert_eq!(monitored.deadline(), Some(now + PIDFILE.pidfile_interval));
        assert_eq!(checked(monitored, None).1, Action::Spawn);
        let restart = step(monitored, Event::Restart, now, &PIDFILE);
        assert_eq!(restart, (monitored, Action::Stop(pid(9))));
        let stop = step(monitored, Event::Stop, now, &PIDFILE);
        assert_eq!(stop, (State::Gone, Action::None));
    }

    #[test]
    fn one_that_goes_to_the_background_gets_time_for_its_pidfile() {
        let now = Instant::now();
        let exited = Event::Exited(Exit::Status(0));
        let (state, _) = step(running(now, &PIDFILE), exited, now, &PIDFILE);
        assert_eq!(state.deadline(), Some(now + PIDFILE.pidfile_interval));
    }

    #[test]
    fn one_that_outlives_the_instance_is_left_running() {
        let now = Instant::now();
        for event in [Event::Stop, Event::Kill] {
            let end = step(running(now, &PIDFILE), event, now, &PIDFILE);
            assert_eq!(end, (State::Gone, Action::None));
        }
    }
}
