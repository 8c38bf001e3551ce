//! The services and hooks of an instance, from its start to its exit.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::master::generation::Generation;
use crate::master::hooks::{InstanceHooks, Phase, PhaseRun, Progress, Runner};
use crate::master::plan::Plan;
use crate::master::shell::command::CommandContext;
use crate::master::shell::output::Outputs;
use crate::master::signals::SignalAction;
use crate::stats::{CronView, DaemonView};
use crate::sys::process::End;
use crate::sys::signal::Signal;

use super::alarms::Alarms;
use super::cron_jobs::CronJobs;
use super::daemon_spec::DaemonSpec;
use super::daemons::Daemons;

/// Time limit of all hooks at exit (`as-user-atexit`) together.
const EXIT_HOOKS_TIMEOUT: Duration = Duration::from_secs(10);

/// All processes and hooks of an instance other than its zygote and workers.
#[derive(Debug)]
pub(in crate::master) struct Services {
    context: CommandContext,
    outputs: Outputs,
    daemons: Daemons,
    cron: CronJobs,
    alarms: Alarms,
    hooks: InstanceHooks,
    stage: Stage,
}

/// The stage of the instance's life.
#[derive(Debug)]
enum Stage {
    /// No generation serves yet.
    Starting,
    /// A generation serves.
    Serving,
    /// No worker is left. The daemons and cron jobs stop.
    Stopping,
    /// The `as-user-atexit` hooks run.
    ExitHooks {
        runner: Box<Runner>,
        deadline: Instant,
    },
}

impl Services {
    /// Creates the services of an instance whose first generation has the plan `plan`. The services start when this
    /// generation serves.
    pub(in crate::master) fn new(config: &Config, plan: &Plan, now: Instant) -> Self {
        Self {
            context: CommandContext::of_generation(plan),
            outputs: Outputs::default(),
            daemons: Daemons::default(),
            cron: CronJobs::default(),
            alarms: Alarms::default(),
            hooks: InstanceHooks::new(config, now),
            stage: Stage::Starting,
        }
    }

    /// Takes the daemons, cron jobs, alarms and hooks of a generation that begins to serve. Stops or restarts the
    /// daemons of the previous generation as needed.
    pub(in crate::master) fn configure(
        &mut self,
        config: &Config,
        daemons: Vec<DaemonSpec>,
        generation: &Generation,
        now: Instant,
    ) {
        self.context = CommandContext::of_generation(&generation.plan);
        self.daemons.configure(daemons, now);
        self.cron.configure(config, now);
        self.alarms.configure(config, now);
        self.hooks.configure(config, generation.number, now);
        self.stage = Stage::Serving;
    }

    /// The action that a `unix_signal` hook assigns to a signal; `None` if no hook redefines the signal.
    pub(in crate::master) fn order(&self, signal: Signal) -> Option<SignalAction> {
        self.hooks.order(signal)
    }

    /// The views of the daemons for the observer.
    pub(in crate::master) fn daemon_views(&self) -> Vec<DaemonView> {
        self.daemons.views()
    }

    /// The views of the cron jobs for the observer.
    pub(in crate::master) fn cron_views(&self, now: Instant) -> Vec<CronView> {
        self.cron.views(now)
    }

    /// The descriptors to poll for input: the output pipes of commands.
    pub(in crate::master) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.outputs.descriptors()
    }

    /// Copies the output of the commands at these indexes of [`Services::descriptors`] to the log.
    pub(in crate::master) fn read(&mut self, indexes: &[usize]) {
        if !indexes.is_empty() {
            self.outputs.read(indexes);
        }
    }

    /// The time at which [`Services::tick`] or [`Services::shut_down`] must be called next.
    pub(in crate::master) fn deadline(&self) -> Option<Instant> {
        let stage = match &self.stage {
            Stage::Starting | Stage::Stopping => None,
            Stage::Serving => self.hooks.touch_deadline(),
            Stage::ExitHooks { runner, deadline } => {
                runner.deadline().into_iter().chain([*deadline]).min()
            }
        };
        let deadlines = [
            stage,
            self.daemons.deadline(),
            self.cron.deadline(),
            self.alarms.deadline(),
            self.hooks.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Handles expired deadlines while the master serves or finishes requests.
    pub(in crate::master) fn tick(&mut self, generations: &[Generation], now: Instant) {
        let (context, outputs) = (&self.context, &mut self.outputs);
        self.hooks.abort_abandoned();
        if matches!(self.stage, Stage::Serving) {
            self.hooks.queue_touched(now);
        }
        self.hooks.tick(generations, context, outputs, now);
        self.daemons.tick(context, outputs, now);
        self.cron.tick(context, outputs, now);
        let sockets = generations.last().into_iter();
        let sockets = sockets.flat_map(|generation| generation.plan.sockets.iter());
        let sockets = sockets.map(|socket| &**socket);
        self.alarms.tick(sockets, context, outputs, now);
    }

    /// Raises the alarms with these names, with a message.
    pub(in crate::master) fn raise(&mut self, names: &[String], message: &str, now: Instant) {
        self.alarms.raise(names, message, now);
    }

    /// Raises an alarm for the application (`uwsgi.alarm()`).
    pub(in crate::master) fn raise_known(&mut self, name: &str, message: &str, now: Instant) {
        self.alarms.raise_known(name, message, now);
    }

    /// Raises the alarms for crashes if the exit of a worker or a zygote is a crash.
    pub(in crate::master) fn process_exited(&mut self, end: End, now: Instant) {
        self.alarms.process_exited(end, now);
    }

    /// Handles the exit of a child. Returns false if the child is not the process of a service, a hook or an alarm.
    pub(in crate::master) fn child_exited(&mut self, end: End, now: Instant) -> bool {
        let outputs = &mut self.outputs;
        self.daemons.child_exited(end, outputs, now)
            || self.cron.child_exited(end, outputs, now)
            || self.hooks.child_exited(end, outputs, now)
            || self.alarms.child_exited(end, outputs, now)
            || match &mut self.stage {
                Stage::ExitHooks { runner, .. } => runner.child_exited(end, outputs, now),
                _ => false,
            }
    }

    /// Takes the reason to stop the instance, if a daemon with `control` has exited.
    pub(in crate::master) fn take_stop_reason(&mut self) -> Option<String> {
        self.daemons.take_stop_reason()
    }

    /// Starts or continues the hooks of a phase that a generation waits for. Does not block: the caller repeats the
    /// call until the result is not [`Progress::Running`].
    pub(in crate::master) fn poll_hooks(
        &mut self,
        (phase, generation): (Phase, u32),
        config: &Config,
        context: &CommandContext,
        now: Instant,
    ) -> Progress {
        let run = PhaseRun {
            phase,
            generation,
            config,
            context,
        };
        self.hooks.poll(&run, &mut self.outputs, now)
    }

    /// Starts no more cron jobs and no more hooks for touched files. Daemons continue, because the requests in flight
    /// may need them.
    pub(in crate::master) fn drain(&mut self) {
        self.hooks.stop_watching();
        self.cron.clear();
    }

    /// Stops all services, then runs the hooks at exit. Does not block. When the last worker has exited, the caller
    /// repeats the call until the result is true.
    pub(in crate::master) fn shut_down(&mut self, config: &Config, now: Instant) -> bool {
        if matches!(self.stage, Stage::Starting | Stage::Serving) {
            self.stage = Stage::Stopping;
            self.drain();
            self.hooks.kill();
            self.alarms.stop();
            self.daemons.stop(now);
            self.cron.stop(now);
        }
        if matches!(self.stage, Stage::Stopping) {
            self.daemons.tick(&self.context, &mut self.outputs, now);
            self.cron.tick(&self.context, &mut self.outputs, now);
            if !self.daemons.is_empty() || !self.cron.is_idle() {
                return false;
            }
            let mut runner = Box::new(Runner::continuing_on_failure());
            runner.add(Phase::AsUserAtExit.hooks(config));
            self.stage = Stage::ExitHooks {
                runner,
                deadline: now + EXIT_HOOKS_TIMEOUT,
            };
        }
        let Stage::ExitHooks { runner, deadline } = &mut self.stage else {
            return false;
        };
        if now >= *deadline {
            let seconds = EXIT_HOOKS_TIMEOUT.as_secs();
            tracing::warn!("hook as-user-atexit: killed: did not finish within {seconds} s");
            runner.kill();
            return true;
        }
        runner.advance(&self.context, &mut self.outputs, now) != Progress::Running
    }

    /// Kills everything except daemons that outlive the instance.
    pub(in crate::master) fn kill(&mut self, now: Instant) {
        self.drain();
        self.hooks.kill();
        self.alarms.stop();
        self.daemons.kill(now);
        self.cron.kill();
        match &mut self.stage {
            Stage::ExitHooks { runner, .. } => runner.kill(),
            stage => *stage = Stage::Stopping,
        }
    }
}
