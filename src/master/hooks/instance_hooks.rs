//! The hooks that run while the master's loop runs.

use std::time::Instant;

use crate::config::{Action, Config, SignalFunction};
use crate::master::generation::Generation;
use crate::master::shell::command::CommandContext;
use crate::master::shell::output::Outputs;
use crate::master::signals::{ReloadMode, SignalAction};
use crate::sys::process::End;
use crate::sys::signal::Signal;

use super::gate::{Gate, PhaseRun};
use super::phase::Hook;
use super::runner::{Progress, Runner};
use super::touch_hooks::TouchHooks;
use super::worker_hooks::{WorkerHooks, workers};

/// The hooks of an instance whose loop runs.
#[derive(Debug)]
pub(in crate::master) struct InstanceHooks {
    /// Hooks that run without anything waiting for their end. A failure is logged and has no other effect.
    background: Runner,
    gate: Gate,
    workers: WorkerHooks,
    touch: TouchHooks,
    /// Signals redefined by `unix_signal`. The last entry of a signal applies.
    signals: Vec<(Signal, SignalAction)>,
}

impl InstanceHooks {
    /// Creates the hooks of an instance that starts. Records the state of the watched files, so that later changes are
    /// noticed.
    pub(in crate::master) fn new(config: &Config, now: Instant) -> Self {
        let mut touch = TouchHooks::default();
        touch.configure(config, now);
        Self {
            background: Runner::continuing_on_failure(),
            gate: Gate::default(),
            workers: WorkerHooks::default(),
            touch,
            signals: Vec::new(),
        }
    }

    /// Takes the hooks from the configuration of a generation that begins to serve. Queues the `master-start` hooks for
    /// the first generation.
    pub(in crate::master) fn configure(&mut self, config: &Config, generation: u32, now: Instant) {
        self.workers.configure(config, generation);
        self.touch.configure(config, now);
        self.signals = signals(config);
        if generation == 1 {
            let actions = config.hook_master_start().iter().cloned();
            self.background
                .add(actions.map(|action| Hook::new("master-start", action)));
        }
    }

    /// Returns the action that a `unix_signal` hook assigns to a signal. Returns `None` if no hook redefines the
    /// signal.
    pub(in crate::master) fn order(&self, signal: Signal) -> Option<SignalAction> {
        let mut redefined = self.signals.iter().rev();
        let (_, order) = redefined.find(|(given, _)| *given == signal)?;
        Some(*order)
    }

    /// The time at which [`InstanceHooks::tick`] or [`InstanceHooks::poll`] must be called next. Watched files have
    /// their own deadline, [`InstanceHooks::touch_deadline`].
    pub(in crate::master) fn deadline(&self) -> Option<Instant> {
        [self.background.deadline(), self.gate.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// The time at which [`InstanceHooks::queue_touched`] must be called next.
    pub(in crate::master) fn touch_deadline(&self) -> Option<Instant> {
        self.touch.deadline()
    }

    /// Checks the watched files if the check is due, and queues the hooks of changed files.
    pub(in crate::master) fn queue_touched(&mut self, now: Instant) {
        self.background.add(self.touch.due(now));
    }

    /// Queues the due hooks of workers, and starts or continues queued hooks without blocking.
    pub(in crate::master) fn tick(
        &mut self,
        generations: &[Generation],
        context: &CommandContext,
        outputs: &mut Outputs,
        now: Instant,
    ) {
        if !self.workers.is_empty() {
            let workers = generations.iter().flat_map(workers);
            self.background.add(self.workers.due(workers));
        }
        if !self.background.is_idle() {
            // the runner logs failures, and nothing waits for the end of the hooks
            let _ = self.background.advance(context, outputs, now);
        }
    }

    /// Starts or continues the hooks of a phase that a generation waits for. Does not block: the caller repeats the
    /// call while the result is [`Progress::Running`].
    pub(in crate::master) fn poll(
        &mut self,
        run: &PhaseRun<'_>,
        outputs: &mut Outputs,
        now: Instant,
    ) -> Progress {
        if run.phase.is_empty(run.config) {
            return Progress::Done;
        }
        self.gate.poll(run, outputs, now)
    }

    /// Kills the hooks of a generation that has been dropped. Must be called once per iteration of the master's loop.
    pub(in crate::master) fn abort_abandoned(&mut self) {
        self.gate.abort_abandoned();
    }

    /// Stops watching the files of touch hooks.
    pub(in crate::master) fn stop_watching(&mut self) {
        self.touch.clear();
    }

    /// Kills running commands and drops queued hooks.
    pub(in crate::master) fn kill(&mut self) {
        self.background.kill();
        self.gate.kill();
    }

    /// Handles the exit of a child. Returns false if the child is not the command of a hook.
    pub(in crate::master) fn child_exited(
        &mut self,
        end: End,
        outputs: &mut Outputs,
        now: Instant,
    ) -> bool {
        self.background.child_exited(end, outputs, now) || self.gate.child_exited(end, outputs, now)
    }
}

/// Returns the signals that `hook-master-start = unix_signal:…` redefines, with their actions.
fn signals(config: &Config) -> Vec<(Signal, SignalAction)> {
    let actions = config.hook_master_start().iter();
    actions
        .filter_map(|action| match action {
            Action::UnixSignal(number, meaning) => {
                Some((Signal::try_from(*number).ok()?, order(*meaning)))
            }
            _ => None,
        })
        .collect()
}

fn order(meaning: SignalFunction) -> SignalAction {
    match meaning {
        SignalFunction::Stop => SignalAction::Stop,
        SignalFunction::Reload => SignalAction::Reload(ReloadMode::Graceful),
        SignalFunction::BrutalReload => SignalAction::Reload(ReloadMode::Brutal),
    }
}
