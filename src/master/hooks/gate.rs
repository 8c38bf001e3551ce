//! The gate runs the hooks for which a generation waits (`pre-app`, `post-app`).

use std::time::{Duration, Instant};

use crate::config::Config;
use crate::master::shell::command::CommandContext;
use crate::master::shell::output::Outputs;
use crate::sys::process::End;

use super::phase::Phase;
use super::runner::{Progress, Runner};

/// Runs hooks. At one time, the gate runs the hooks of one phase for one generation.
#[derive(Debug, Default)]
pub(super) struct Gate {
    runner: Runner,
    state: State,
}

/// The parameters of [`Gate::poll`]: a phase of a generation, and the context that its hooks run in.
pub(in crate::master) struct PhaseRun<'a> {
    pub(in crate::master) phase: Phase,
    /// The number of the generation, from 1.
    pub(in crate::master) generation: u32,
    pub(in crate::master) config: &'a Config,
    pub(in crate::master) context: &'a CommandContext,
}

/// The phase and the generation whose hooks run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    #[default]
    Idle,
    /// The generation has called [`Gate::poll`] since the last [`Gate::abort_abandoned`].
    Polled(Phase, u32),
    /// The generation has not called [`Gate::poll`] since the last [`Gate::abort_abandoned`].
    Unpolled(Phase, u32),
}

impl Gate {
    /// Starts or continues the hooks of a phase for a generation. Does not block: the caller repeats the call while the
    /// result is [`Progress::Running`]. Kills hooks that still run for another phase or generation. Only the hooks of a
    /// reload have a time limit (`hook-harakiri`).
    pub(super) fn poll(
        &mut self,
        run: &PhaseRun<'_>,
        outputs: &mut Outputs,
        now: Instant,
    ) -> Progress {
        let (phase, generation) = (run.phase, run.generation);
        let running = match self.state {
            State::Idle => None,
            State::Polled(phase, generation) | State::Unpolled(phase, generation) => {
                Some((phase, generation))
            }
        };
        if running != Some((phase, generation)) {
            self.runner.kill();
            self.runner.add(phase.hooks(run.config));
            let limit = time_limit(run.config, generation);
            self.runner.set_time_limit(limit, now);
        }
        let progress = self.runner.advance(run.context, outputs, now);
        self.state = match progress {
            Progress::Running => State::Polled(phase, generation),
            _ => State::Idle,
        };
        progress
    }

    /// Kills the hooks if their generation has not called [`Gate::poll`] since the last call of this function. The
    /// master has then dropped this generation.
    pub(super) fn abort_abandoned(&mut self) {
        self.state = match self.state {
            State::Idle => State::Idle,
            State::Polled(phase, generation) => State::Unpolled(phase, generation),
            State::Unpolled(..) => {
                self.runner.kill();
                State::Idle
            }
        };
    }

    /// The time at which the next [`Gate::poll`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.runner.deadline()
    }

    /// Kills the running command and clears the queue.
    pub(super) fn kill(&mut self) {
        self.runner.kill();
    }

    /// Handles the exit of a child. Returns false if the child is not the running command.
    pub(super) fn child_exited(&mut self, end: End, outputs: &mut Outputs, now: Instant) -> bool {
        self.runner.child_exited(end, outputs, now)
    }
}

fn time_limit(config: &Config, generation: u32) -> Option<Duration> {
    let is_reload = generation > 1;
    let limit = config.hook_harakiri();
    (is_reload && !limit.is_zero()).then_some(limit)
}
