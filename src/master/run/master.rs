//! The state of the master, and the ways to stop it.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::exit;
use crate::ipc::{LoadFailure, ToWorker};
use crate::log;
use crate::log::thread::AlarmQueue;
use crate::master::app_signals::AppSignals;
use crate::master::control_socket::ForwardedRequest;
use crate::master::generation::Generation;
use crate::master::hand_over::HandOver;
use crate::master::idle::IdleTimer;
use crate::master::instance::Instance;
use crate::master::plan::Plan;
use crate::master::reload_files::{LogFiles, ReloadFiles};
use crate::master::reloads::Reloads;
use crate::master::role::GenerationRole;
use crate::master::scale;
use crate::master::services::Services;
use crate::master::shared_memory::Maintenance;
use crate::process::stop_signals::StopSignals;
use crate::sys::signal::Signals;

/// The generations of workers. At most one generation has the role `First` or `Current`, and at most one has the role
/// `Next` or `TakingOver`. All other generations have the role `Old`.
pub(in crate::master) struct Master {
    pub(super) instance: Instance,
    pub(super) signals: Signals,
    pub(super) phase: Phase,
    pub(super) stop_signals: StopSignals,
    /// At most one has the role `First` or `Current`, at most one the role `Next` or `TakingOver`. Any number have the
    /// role `Old`.
    pub(super) generations: Vec<Generation>,
    /// Number of the generation started last.
    pub(super) last_generation: u32,
    pub(super) reloads: Reloads,
    /// The progress of the generation with the role `TakingOver`.
    pub(super) hand_over: HandOver,
    pub(super) files: ReloadFiles,
    /// The timer of `idle`; `None` if the option is not set.
    pub(super) idle: Option<IdleTimer>,
    pub(super) services: Services,
    pub(super) maintenance: Maintenance,
    /// The time at which the first generation began to serve.
    pub(super) ready_since: Option<Instant>,
    /// The failure logged last. Its traceback is not logged again when the same failure repeats.
    pub(super) last_failure: Option<LoadFailure>,
    /// The time at which the size of the log file is checked next (`log-maxsize`).
    pub(super) log_check: Instant,
    pub(super) app_signals: AppSignals,
    /// The alarms that lines of the log raise (`log-alarm`).
    pub(super) line_alarms: Option<Arc<AlarmQueue>>,
    /// Requests forwarded by the emperor that wait for their answer.
    pub(super) forwarded: Vec<ForwardedRequest>,
}

/// The phase of an instance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// The first generation does not serve yet.
    Starting,
    Running,
    /// An operator has paused the instance: it has no workers, and connections wait.
    Paused {
        /// Number of workers to start at the end of the pause.
        workers: u32,
    },
    /// The master exits with `status` when no process is left.
    Stopping {
        status: i32,
        /// The time at which the master kills the remaining processes. Set only after the emperor's exit, because a
        /// running emperor kills them itself.
        kill_at: Option<Instant>,
    },
}

impl Phase {
    /// Whether the start is complete and the stop has not begun: a generation serves, or the instance is paused.
    pub(super) fn is_started(self) -> bool {
        matches!(self, Self::Running | Self::Paused { .. })
    }

    pub(super) fn is_stopping(self) -> bool {
        matches!(self, Self::Stopping { .. })
    }
}

impl Master {
    pub(in crate::master) fn new(instance: Instance, signals: Signals, first: &Plan) -> Self {
        let services = Services::new(instance.config(), first, Instant::now());
        Self {
            instance,
            signals,
            phase: Phase::Starting,
            stop_signals: StopSignals::default(),
            generations: Vec::new(),
            last_generation: 0,
            reloads: Reloads::default(),
            hand_over: HandOver::default(),
            files: ReloadFiles::default(),
            idle: None,
            services,
            maintenance: Maintenance::new(Instant::now()),
            ready_since: None,
            last_failure: None,
            log_check: Instant::now(),
            app_signals: AppSignals::default(),
            line_alarms: log::thread::alarms(),
            forwarded: Vec::new(),
        }
    }

    /// The generation that serves; `None` before the end of the start and during a stop.
    pub(super) fn current(&self) -> Option<&Generation> {
        let mut generations = self.generations.iter();
        generations.find(|generation| generation.role == GenerationRole::Current)
    }

    pub(super) fn current_mut(&mut self) -> Option<&mut Generation> {
        let mut generations = self.generations.iter_mut();
        generations.find(|generation| generation.role == GenerationRole::Current)
    }

    /// Adds a generation. The next tick spawns its zygote.
    pub(super) fn start_generation(
        &mut self,
        role: GenerationRole,
        plan: Plan,
        now: Instant,
    ) -> io::Result<()> {
        self.last_generation += 1;
        let serving = self.current().map(|generation| {
            let processes = generation.plan.app.worker.processes;
            (generation.wanted(), processes)
        });
        let workers = scale::first_count(&plan.scale, serving, plan.app.lazy);
        let generation = Generation::new(self.last_generation, role, plan, workers, now)?;
        self.generations.push(generation);
        Ok(())
    }

    /// Watches the files that the running configuration names for changes. Stops watching all other files.
    pub(super) fn watch_files(&mut self, now: Instant) {
        let config = self.instance.config();
        let logs = LogFiles {
            reopen: config.touch_logreopen(),
            rotate: config.touch_logrotate(),
            mules: config.touch_mules_reload(),
        };
        self.files.poll(self.instance.touched_files(), logs, now);
        self.files.watch(&self.instance.watched_paths());
    }

    /// Restarts the timer of `idle` with the running configuration. An instance without sockets has no timer.
    pub(super) fn start_idle_timer(&mut self, now: Instant) {
        let limit = self.instance.config().idle();
        self.idle = limit
            .filter(|limit| !limit.is_zero() && !self.instance.resources().sockets.is_empty())
            .map(|limit| IdleTimer::new(limit, now));
    }

    /// Lets the requests in flight finish, and then stops the instance. The second call kills all processes. The first
    /// call does so too if no worker has served yet. `who` is logged as the origin of the request.
    pub(super) fn stop(&mut self, who: impl Display, now: Instant) {
        match self.phase {
            Phase::Stopping { status, .. } => {
                tracing::warn!("{who}: stopping at once (second request)");
                self.kill_all(status, now);
            }
            Phase::Starting if !self.generations.iter().any(Generation::has_served) => {
                tracing::info!("{who}: stopping; the start was not complete");
                self.stop_now(exit::OK, now);
            }
            Phase::Starting | Phase::Running | Phase::Paused { .. } => {
                tracing::info!("{who}: stopping after the requests in flight");
                self.drain(now);
            }
        }
    }

    /// Starts the stop. Each worker finishes its requests and exits; then the master exits.
    pub(super) fn drain(&mut self, now: Instant) {
        self.instance.stop_begins();
        self.phase = Phase::Stopping {
            status: exit::OK,
            kill_at: None,
        };
        for generation in &mut self.generations {
            generation.dismiss(ToWorker::Stop, now);
        }
    }

    /// Kills all processes and drops a running reload; then the master exits with this status.
    pub(super) fn stop_now(&mut self, status: i32, now: Instant) {
        self.instance.stop_begins();
        self.kill_all(status, now);
    }

    pub(super) fn kill_all(&mut self, status: i32, now: Instant) {
        self.phase = Phase::Stopping {
            status,
            kill_at: None,
        };
        for generation in &mut self.generations {
            generation.kill(now);
        }
        self.services.kill(now);
    }

    /// Removes the external resources of the instance, such as pidfiles and socket files. This is the last action of
    /// the master.
    pub(in crate::master) fn release(&mut self, status: i32) {
        let stopped =
            || LoadFailure::from("it was stopped before the start was complete".to_owned());
        let failure = self.last_failure.take().unwrap_or_else(stopped);
        self.maintenance.finish(self.instance.shared_memory());
        self.instance.release(status, &failure);
    }

    /// Writes the status of all generations to the log.
    pub(super) fn log_status(&self, now: Instant) {
        for generation in &self.generations {
            generation.log_status(now);
        }
    }
}
