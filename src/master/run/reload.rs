//! Event sources: reloads. A new generation is prepared while the current generation serves, and takes over when it is
//! ready.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::ipc::{LoadFailure, ToWorker};
use crate::master::generation::Generation;
use crate::master::hand_over::{HandOver, HandOverStep};
use crate::master::hooks::{Phase as HookPhase, Progress};
use crate::master::reloads::ImportAttempt;
use crate::master::report;
use crate::master::role::GenerationRole;
use crate::master::shell::command::CommandContext;
use crate::master::signals::ReloadMode;
use crate::master::slow_start;
use crate::master::worker_ids::Share;

use super::event_source::EventSource;
use super::master::{Master, Phase};

/// The event source that lets the generation of a reload take over when it is ready.
pub(super) struct Completion;

/// The event source that starts a requested reload.
pub(super) struct Requests;

impl EventSource for Completion {
    fn deadline(&self, master: &Master, now: Instant) -> Option<Instant> {
        master.take_over_deadline(now)
    }

    fn tick(&self, master: &mut Master, now: Instant) {
        if master.phase.is_started() {
            master.continue_repeated_import(now);
            master.begin_take_over(now);
            master.take_over(now);
            master.finish_hand_over();
        }
    }
}

impl EventSource for Requests {
    fn deadline(&self, master: &Master, now: Instant) -> Option<Instant> {
        match master.phase.is_started() {
            true if master.reloads.can_start() => Some(now),
            true => master.gives_way_at(),
            false => None,
        }
    }

    fn tick(&self, master: &mut Master, now: Instant) {
        if !master.phase.is_started() {
            return;
        }
        if master.reloads.is_loading() {
            return master.give_way(now);
        }
        if master.reloads.can_start() && master.instance.config().exit_on_reload() {
            master.stop("a reload was requested (exit-on-reload)", now);
            return;
        }
        master.start_reload(now);
    }
}

impl Master {
    fn start_reload(&mut self, now: Instant) {
        let Some(prepared) = self.prepare_reload(now) else {
            return;
        };
        let started = prepared.and_then(|mode| {
            let plan = self.instance.next_plan()?;
            self.start_generation(GenerationRole::Next, plan, now)?;
            Ok(mode)
        });
        match started {
            Ok(mode) => {
                self.reloads.load(mode);
                tracing::info!(
                    "reloading: generation {} starts beside the running one",
                    self.last_generation
                );
            }
            Err(reason) => {
                report::reload_refused(&reason);
                self.reload_failed(format!("{reason:#}").into());
            }
        }
    }

    /// Reads the configuration of a requested reload, then runs the hooks that precede the load. Returns the mode of
    /// the reload when the hooks have ended. Returns `None` if no reload is requested, and while the hooks run.
    fn prepare_reload(&mut self, now: Instant) -> Option<Result<ReloadMode>> {
        let mode = match self.reloads.in_hooks() {
            Some(mode) => mode,
            None => {
                let mode = self.reloads.start()?;
                self.instance.reload_begins();
                if let Err(error) = self.instance.renew() {
                    return Some(Err(error));
                }
                mode
            }
        };
        match self.pre_app_hooks_ended(now) {
            Ok(true) => Some(Ok(mode)),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Whether the hooks before the load of the next generation have ended. The first call starts them. An error means
    /// that a hook failed or requested exit.
    fn pre_app_hooks_ended(&mut self, now: Instant) -> Result<bool> {
        let config = self.instance.next_config();
        if HookPhase::PreApp.is_empty(config) {
            return Ok(true);
        }
        let context = CommandContext::of_config(config);
        let generation = self.last_generation + 1;
        let phase = (HookPhase::PreApp, generation);
        match self.services.poll_hooks(phase, config, &context, now) {
            Progress::Running => Ok(false),
            Progress::Done => Ok(true),
            Progress::Failed(sentence) => bail!(sentence),
            Progress::Exit(status) => bail!("a hook requested exit status {status}"),
        }
    }

    /// Starts the take-over once the generation of the reload has loaded the application and its `post-app` hooks have
    /// ended. Repeats the import first if the import lacks ports or locks.
    fn begin_take_over(&mut self, now: Instant) {
        let is_ready = |generation: &Generation| {
            generation.role == GenerationRole::Next && generation.is_ready()
        };
        let Some(next) = self.generations.iter().position(is_ready) else {
            return;
        };
        if self.repeat_import(next, None, now) {
            return;
        }
        if self.post_app_hooks_ended(next, now) {
            self.keep_worker_count(next, now);
            self.hand_over = HandOver::default();
            self.generations[next].begin_take_over();
        }
    }

    /// Replaces the workers of the current generation by the workers of the new generation, one worker id after the
    /// other.
    fn take_over(&mut self, now: Instant) {
        let is_next = |generation: &Generation| generation.role == GenerationRole::TakingOver;
        let Some(next) = self.generations.iter().position(is_next) else {
            return;
        };
        let mode = self.reloads.mode();
        loop {
            let (wanted, serving) = {
                let next = &self.generations[next];
                (next.wanted(), next.serving_count())
            };
            match self.hand_over.step(wanted, serving, now) {
                HandOverStep::Wait(_) => return,
                HandOverStep::Finish => return self.finish_reload(next, mode, now),
                HandOverStep::Replace(worker_id) => {
                    if let Some(current) = self.current_mut() {
                        current.set_share(Share::Above(worker_id), now);
                        current.give_up_id(worker_id, mode, now);
                    }
                    self.generations[next].set_share(Share::UpTo(worker_id), now);
                }
            }
        }
    }

    /// Makes the new generation the current generation, when all its workers serve. Adopts its configuration, daemons
    /// and watched files. Dismisses the old generation, or kills it in a brutal reload.
    fn finish_reload(&mut self, next: usize, mode: ReloadMode, now: Instant) {
        self.generations[next].take_over(now);
        if matches!(self.phase, Phase::Paused { .. }) {
            // a paused instance stays paused after a reload
            self.generations[next].scale(0, now);
        }
        let took = now.duration_since(self.generations[next].begun);
        self.instance.reloaded(&self.generations[next], took);
        self.services.configure(
            self.instance.config(),
            self.instance.daemons(),
            &self.generations[next],
            now,
        );
        self.reloads.take_over();
        for (index, generation) in self.generations.iter_mut().enumerate() {
            match (generation.role, mode) {
                (GenerationRole::Current, ReloadMode::Graceful) if index != next => {
                    generation.dismiss(ToWorker::Retire, now);
                }
                (GenerationRole::Current, ReloadMode::Brutal) if index != next => {
                    generation.kill(now);
                }
                _ => {}
            }
        }
        self.last_failure = None;
        if self.instance.config().log_reopen() {
            self.reopen_log();
        }
        self.start_idle_timer(now);
        self.watch_files(now);
    }

    /// The time at which the running reload is given up in favour of a requested reload, because a process of the
    /// running reload does not finish its start. `None` if no reload is requested, or if no process is starting.
    fn gives_way_at(&self) -> Option<Instant> {
        if !self.reloads.is_loading() || !self.reloads.is_requested() {
            return None;
        }
        let usual = self
            .current()
            .map_or(Duration::ZERO, Generation::longest_start);
        let next = self.generations.iter().find(|it| it.role.is_of_reload())?;
        Some(next.oldest_start()? + slow_start::patience(usual))
    }

    /// Gives up the running reload if a process does not finish its start and another reload is requested. The
    /// requested reload may load corrected code.
    fn give_way(&mut self, now: Instant) {
        if self.gives_way_at().is_none_or(|at| at > now) {
            return;
        }
        let mut generations = self.generations.iter_mut();
        if let Some(next) = generations.find(|it| it.role.is_of_reload()) {
            let seconds = next
                .oldest_start()
                .map_or(0, |at| now.duration_since(at).as_secs());
            let number = next.number;
            next.abandon(now);
            tracing::error!(
                "reload failed: generation {number} has not finished its start after {seconds} s, and another reload is requested; the workers of the running generation continue"
            );
            self.reload_failed(
                "its start did not finish before the next reload was requested"
                    .to_owned()
                    .into(),
            );
        }
    }

    /// Raises the number of workers of the next generation to that of the current generation. The load may have raised
    /// the current number while the next generation was prepared.
    fn keep_worker_count(&mut self, next: usize, now: Instant) {
        let workers = self.current().map_or(0, Generation::wanted);
        if workers > self.generations[next].wanted() {
            self.generations[next].scale(workers, now);
        }
    }

    /// Whether the `post-app` hooks have ended. They run when the next generation is loaded, and before it serves. A
    /// failed hook ends the reload.
    fn post_app_hooks_ended(&mut self, next: usize, now: Instant) -> bool {
        let reason = match self.run_post_app(next, now) {
            Progress::Running => return false,
            Progress::Done => return true,
            Progress::Failed(sentence) => sentence,
            Progress::Exit(status) => format!("a hook requested exit status {status}"),
        };
        let number = self.generations[next].number;
        self.generations[next].abandon(now);
        tracing::error!(
            "reload failed: {reason}; generation {number} is stopped, the workers of the running generation continue"
        );
        self.reload_failed(reason.into());
        false
    }

    /// Completes the reload when no worker of an old generation accepts connections any more.
    fn finish_hand_over(&mut self) {
        let accepts = |generation: &Generation| {
            generation.role == GenerationRole::Old && generation.accepts()
        };
        if !self.generations.iter().any(accepts) && self.reloads.hand_over() {
            self.instance.handed_over();
        }
    }

    /// The time at which a running reload continues at the latest: the end of the wait for released ports and locks, or
    /// the time to replace the next worker.
    fn take_over_deadline(&self, now: Instant) -> Option<Instant> {
        if let ImportAttempt::Clearing { until } = self.reloads.attempt() {
            return Some(until);
        }
        let mut generations = self.generations.iter();
        let next = generations.find(|it| it.role == GenerationRole::TakingOver)?;
        let mut hand_over = self.hand_over;
        match hand_over.step(next.wanted(), next.serving_count(), now) {
            HandOverStep::Wait(until) => until,
            HandOverStep::Replace(_) | HandOverStep::Finish => Some(now),
        }
    }

    /// Ends the running reload as failed. The current generation continues to serve, with all worker ids, and may
    /// import again.
    pub(super) fn reload_failed(&mut self, failure: LoadFailure) {
        let now = Instant::now();
        if let Some(current) = self.current_mut() {
            current.set_share(Share::All, now);
            current.resume_import(now);
        }
        self.instance.reload_failed(&failure);
        // an update may have replaced the watched files before this reload, so the watches are set up again
        self.files.rewatch(&self.instance.watched_paths());
        self.reloads.fail(failure);
    }
}
