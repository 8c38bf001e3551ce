//! The signals of one generation: the registered signals with the processes that handle them, and the triggers that
//! raise signals.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{Config, Schedule};
use crate::ipc::{MAX_TRIGGERS, SignalRequest, SignalTarget};

/// Maximum number of triggers of all kinds that a generation keeps.
const MAX_ALL: usize = 3 * MAX_TRIGGERS;

/// A set of signal numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::master) struct SignalSet([u64; 4]);

impl SignalSet {
    pub(in crate::master) fn insert(&mut self, number: u8) {
        self.0[usize::from(number / 64)] |= 1 << (number % 64);
    }

    pub(in crate::master) fn contains(&self, number: u8) -> bool {
        self.0[usize::from(number / 64)] & (1 << (number % 64)) != 0
    }
}

/// A trigger: the cause that raises a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::master) enum Trigger {
    /// The signal is raised at intervals, at most `runs` times.
    Timer { every: Duration, runs: Option<u64> },
    /// The signal is raised at times of the local clock.
    Cron(Schedule),
    /// The signal is raised when a file, or a file in a directory, changes (inotify).
    Watch(String),
    /// The signal is raised when a file is touched (stat at intervals).
    Touch(String),
}

/// The effect of a request of the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::master) enum Effect {
    /// The sender has a handler for the signal.
    Registered(u8),
    /// The table has another trigger.
    Scheduled,
    /// The signal is raised now.
    Raised(u8),
    /// The table already has this trigger. With `lazy-apps`, each worker requests the same triggers.
    Known,
    /// The table is full.
    Full,
}

/// The registered signals of one generation.
#[derive(Debug, Default)]
pub(in crate::master) struct SignalTable {
    targets: BTreeMap<u8, SignalTarget>,
    triggers: Vec<(u8, Trigger)>,
    /// Signals whose handlers the zygote has registered. Every worker inherits them.
    inherited: SignalSet,
}

/// The triggers of the options `timer`, `touch-signal` and `fs-signal`.
pub(in crate::master) fn configured(config: &Config) -> Vec<(u8, Trigger)> {
    let timers = config.timer().iter().map(|timer| {
        let every = timer.every;
        (timer.number, Trigger::Timer { every, runs: None })
    });
    let touched = config.touch_signal().iter();
    let touched = touched.map(|file| (file.number, Trigger::Touch(file.path.clone())));
    let watched = config.fs_signal().iter();
    let watched = watched.map(|file| (file.number, Trigger::Watch(file.path.clone())));
    timers.chain(touched).chain(watched).collect()
}

impl SignalTable {
    /// A table with the triggers of options, and without registered signals.
    pub(in crate::master) fn new(triggers: Vec<(u8, Trigger)>) -> Self {
        Self {
            triggers,
            ..Self::default()
        }
    }

    /// Applies a request of the zygote, or of a worker.
    pub(in crate::master) fn apply(&mut self, request: SignalRequest, of_zygote: bool) -> Effect {
        match request {
            SignalRequest::Register { number, target } => {
                self.targets.insert(number, target);
                if of_zygote {
                    self.inherited.insert(number);
                }
                Effect::Registered(number)
            }
            SignalRequest::Raise { number } => Effect::Raised(number),
            SignalRequest::Timer {
                number,
                every_ms,
                runs,
            } => {
                let every = Duration::from_millis(every_ms.max(1));
                self.schedule(number, Trigger::Timer { every, runs })
            }
            SignalRequest::Cron {
                number,
                fields: [minute, hour, day, month, week],
            } => {
                let schedule = Schedule {
                    minute,
                    hour,
                    day,
                    month,
                    week,
                };
                self.schedule(number, Trigger::Cron(schedule))
            }
            SignalRequest::Watch { number, path } => self.schedule(number, Trigger::Watch(path)),
        }
    }

    fn schedule(&mut self, number: u8, trigger: Trigger) -> Effect {
        let entry = (number, trigger);
        if self.triggers.contains(&entry) {
            return Effect::Known;
        }
        if self.triggers.len() >= MAX_ALL {
            return Effect::Full;
        }
        self.triggers.push(entry);
        Effect::Scheduled
    }

    /// The processes that handle a signal; `None` if it is not registered.
    pub(in crate::master) fn target(&self, number: u8) -> Option<&SignalTarget> {
        self.targets.get(&number)
    }

    /// Whether every process that the zygote forks has a handler for the signal.
    pub(in crate::master) fn is_inherited(&self, number: u8) -> bool {
        self.inherited.contains(number)
    }

    /// The triggers that raise signals, with the numbers of the signals.
    pub(in crate::master) fn triggers(&self) -> &[(u8, Trigger)] {
        &self.triggers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMER: SignalRequest = SignalRequest::Timer {
        number: 6,
        every_ms: 1000,
        runs: None,
    };

    #[test]
    fn a_timer_that_several_workers_add_exists_once() {
        let mut table = SignalTable::default();
        assert_eq!(table.apply(TIMER, false), Effect::Scheduled);
        assert_eq!(table.apply(TIMER, false), Effect::Known);
        assert_eq!(table.triggers().len(), 1);
    }

    #[test]
    fn only_the_zygote_registers_for_all() {
        let mut table = SignalTable::default();
        let register = |number| SignalRequest::Register {
            number,
            target: SignalTarget::AnyWorker,
        };
        table.apply(register(255), true);
        table.apply(register(64), false);
        assert!(table.is_inherited(255) && !table.is_inherited(64));
        assert_eq!(table.target(64), Some(&SignalTarget::AnyWorker));
    }

    #[test]
    fn the_number_of_triggers_is_limited() {
        let mut table = SignalTable::default();
        let watch = |index: usize| SignalRequest::Watch {
            number: 1,
            path: index.to_string(),
        };
        for index in 0..MAX_ALL {
            assert_eq!(table.apply(watch(index), true), Effect::Scheduled);
        }
        assert_eq!(table.apply(watch(MAX_ALL), true), Effect::Full);
    }
}
