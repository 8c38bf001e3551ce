//! What an instance has besides its workers: companion processes, commands at certain times, and hooks.
//!
//! When something is to be done is decided by pure functions (`daemon.rs`, `cron.rs`); `child.rs` has the processes.
//! An instance that has none of them pays for empty lists.

pub(super) mod child;
mod companion;
mod cron;
mod daemon;
mod task;

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::config::{Action, Config, Meaning};
use crate::sys::process::End;
use crate::sys::signal::Signal;

use super::generation::Generation;
use super::plan::Plan;
use super::signals::{ReloadMode, SignalAction};
use crate::watch::PollWatch;

pub(super) use child::Surroundings;
pub(super) use companion::{Wanted, wanted};

use child::Outputs;
use companion::Companions;

use super::hooks::{self, Job, Outcome, Phase, Runner, Workers};
use task::Tasks;

/// How long the hooks at the end may take altogether.
const FAREWELL: Duration = Duration::from_secs(10);

/// The helpers of an instance.
#[derive(Debug)]
pub(super) struct Services {
    around: Surroundings,
    outputs: Outputs,
    companions: Companions,
    tasks: Tasks,
    /// Hooks of the running instance, whose failure ends nothing.
    live: Runner,
    /// Hooks that a generation waits for, or the last ones.
    gate: Runner,
    /// Which hooks those are: the moment, and the generation.
    at: Option<(Phase, u32)>,
    /// Somebody waits for them.
    awaited: bool,
    workers: Workers,
    touched: Vec<(PollWatch, Action)>,
    /// A generation has begun to serve.
    settled: bool,
    meanings: Vec<(Signal, Meaning)>,
    leaving: Leaving,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leaving {
    NotYet,
    /// Companions and commands are asked to stop.
    Stopping,
    /// The last hooks run, until then.
    Farewell {
        until: Instant,
    },
}

impl Services {
    /// Those of an instance whose first generation is made of `plan`; they begin when it serves.
    pub(super) fn new(config: &Config, plan: &Plan, now: Instant) -> Self {
        Self {
            around: Surroundings::of(plan),
            outputs: Outputs::default(),
            companions: Companions::default(),
            tasks: Tasks::default(),
            live: Runner::tolerant(),
            gate: Runner::default(),
            at: None,
            awaited: false,
            workers: Workers::default(),
            touched: watched(config, Vec::new(), now),
            settled: false,
            meanings: Vec::new(),
            leaving: Leaving::NotYet,
        }
    }

    /// Takes on the helpers of a generation that begins to serve.
    pub(super) fn settle(
        &mut self,
        config: &Config,
        wanted: Vec<Wanted>,
        generation: &Generation,
        now: Instant,
    ) {
        self.around = Surroundings::of(&generation.plan);
        self.companions.settle(wanted, now);
        self.tasks.settle(config, now);
        self.workers.settle(config, generation.number);
        self.touched = watched(config, std::mem::take(&mut self.touched), now);
        self.settled = true;
        self.meanings = meanings(config);
        if generation.number == 1 {
            let hooks = config.hook_master_start().iter().cloned();
            self.live
                .add(hooks.map(|hook| Job::new("master-start", hook)));
        }
    }

    /// What a signal was made to mean.
    pub(super) fn order(&self, signal: Signal) -> Option<SignalAction> {
        let (_, meaning) = self.meanings.iter().rfind(|(given, _)| *given == signal)?;
        Some(match meaning {
            Meaning::Stop => SignalAction::Stop,
            Meaning::Reload => SignalAction::Reload(ReloadMode::Graceful),
            Meaning::BrutalReload => SignalAction::Reload(ReloadMode::Brutal),
        })
    }

    /// What to wait for.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.outputs.descriptors()
    }

    /// Reads from those of these places, in the order of [`Services::descriptors`].
    pub(super) fn read(&mut self, places: &[usize]) {
        if !places.is_empty() {
            self.outputs.read(places);
        }
    }

    /// When [`Services::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let farewell = match self.leaving {
            Leaving::Farewell { until } => Some(until),
            _ => None,
        };
        let touched = self
            .touched
            .iter()
            .filter(|_| self.settled)
            .filter_map(|(touches, _)| touches.deadline());
        [
            farewell,
            self.companions.deadline(),
            self.tasks.deadline(),
            self.live.deadline(),
            self.gate.deadline(),
        ]
        .into_iter()
        .flatten()
        .chain(touched)
        .min()
    }

    /// Nothing new is begun any more: the instance stops, although requests may still be finished, for which the
    /// companions stay.
    pub(super) fn wind_down(&mut self) {
        self.touched.clear();
        self.tasks.wind_down();
    }

    /// Does what is due while there are workers.
    pub(super) fn tick(&mut self, generations: &[Generation], now: Instant) {
        if !std::mem::take(&mut self.awaited) && self.at.take().is_some() {
            // the generation that waited is no more
            self.gate.kill();
        }
        for (touches, action) in self.touched.iter_mut().filter(|_| self.settled) {
            if touches.changed(now).is_some() {
                self.live.add([Job::new("touch", action.clone())]);
            }
        }
        if self.workers.any() {
            let sights = generations.iter().flat_map(hooks::sights);
            self.live.add(self.workers.look(sights));
        }
        if !self.live.is_idle() {
            // whether all is done by now makes no difference
            let _ = self.live.go_on(&self.around, &mut self.outputs, now);
        }
        self.companions.tick(&self.around, &mut self.outputs, now);
        self.tasks.tick(&self.around, &mut self.outputs, now);
    }

    /// Hears of the end of a child; false if it is not one of ours.
    pub(super) fn ended(&mut self, end: End, now: Instant) -> bool {
        let outputs = &mut self.outputs;
        self.companions.ended(end, outputs, now)
            || self.tasks.ended(end, outputs, now)
            || self.live.ended(end, outputs, now)
            || self.gate.ended(end, outputs, now)
    }

    /// Why the instance has to stop, if a companion that controls it has ended.
    pub(super) fn last_word(&mut self) -> Option<String> {
        self.companions.last_word()
    }

    /// Runs the hooks of a moment that a generation waits for; to be asked again while it is busy.
    pub(super) fn pass(
        &mut self,
        phase: Phase,
        generation: u32,
        config: &Config,
        around: &Surroundings,
        now: Instant,
    ) -> Outcome {
        if phase.is_empty(config) {
            return Outcome::Done;
        }
        if self.at != Some((phase, generation)) {
            self.at = Some((phase, generation));
            self.gate.kill();
            self.gate.add(phase.jobs(config));
            // nothing is held up by a start but the start
            let reloads = generation > 1;
            let limit = config.hook_harakiri();
            let limit = Some(limit).filter(|limit| reloads && !limit.is_zero());
            self.gate.limit(limit, now);
        }
        let outcome = self.gate.go_on(around, &mut self.outputs, now);
        self.awaited = outcome == Outcome::Busy;
        if !self.awaited {
            self.at = None;
        }
        outcome
    }

    /// Lets everything go, now that no worker is left; true when nothing is left here either.
    pub(super) fn leave(&mut self, config: &Config, now: Instant) -> bool {
        match self.leaving {
            Leaving::NotYet => {
                self.leaving = Leaving::Stopping;
                self.wind_down();
                self.live.kill();
                self.gate.kill();
                self.companions.stop(now);
                self.tasks.stop(now);
                self.leave(config, now)
            }
            Leaving::Stopping => {
                self.companions.tick(&self.around, &mut self.outputs, now);
                self.tasks.tick(&self.around, &mut self.outputs, now);
                if !self.companions.is_empty() || !self.tasks.is_idle() {
                    return false;
                }
                let until = now + FAREWELL;
                self.leaving = Leaving::Farewell { until };
                self.gate = Runner::tolerant();
                self.gate.add(Phase::AtExit.jobs(config));
                self.leave(config, now)
            }
            Leaving::Farewell { until } if now >= until => {
                tracing::warn!("the hooks at the end are given up: they take too long");
                self.gate.kill();
                true
            }
            Leaving::Farewell { .. } => {
                self.gate.go_on(&self.around, &mut self.outputs, now) != Outcome::Busy
            }
        }
    }

    /// Ends everything at once, but for companions that outlive the instance.
    pub(super) fn kill(&mut self, now: Instant) {
        if self.leaving == Leaving::NotYet {
            self.leaving = Leaving::Stopping;
        }
        self.wind_down();
        self.live.kill();
        self.gate.kill();
        self.companions.kill(now);
        self.tasks.kill();
    }
}

/// The files of `hook-touch` and `touch-exec`; of those that were watched `before`, what is known of them stays.
fn watched(
    config: &Config,
    before: Vec<(PollWatch, Action)>,
    now: Instant,
) -> Vec<(PollWatch, Action)> {
    let hooks = config.hook_touch().iter().chain(config.touch_exec());
    let mut before = before.into_iter();
    hooks
        .map(|(path, action)| {
            let mut touches = before
                .next()
                .map(|(touches, _)| touches)
                .unwrap_or_default();
            touches.watch([path].into_iter(), now);
            (touches, action.clone())
        })
        .collect()
}

fn meanings(config: &Config) -> Vec<(Signal, Meaning)> {
    let hooks = config.hook_master_start().iter();
    hooks
        .filter_map(|hook| match hook {
            Action::UnixSignal(number, meaning) => {
                Some((Signal::try_from(*number).ok()?, *meaning))
            }
            _ => None,
        })
        .collect()
}
