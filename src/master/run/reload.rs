//! Reloads: a generation is prepared beside the one that serves, and takes over when it can serve.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::ipc::{LoadFailure, ToWorker};
use crate::master::generation::Generation;
use crate::master::reload_watch::ReloadWatch;
use crate::master::report;
use crate::master::role::GenerationRole;
use crate::master::signals::ReloadMode;
use crate::watch::PollWatch;

use super::{Master, Phase};

/// Ends of reloads that are remembered for those who wait for one.
const REMEMBERED: usize = 8;

/// `py-autoreload` looks at files no more often.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);

/// The reloads of an instance, numbered from 1.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    /// How many were begun.
    pub(super) begun: u64,
    /// The one whose generation serves while workers of the generation before may still accept.
    handing_over: Option<u64>,
    /// The last ones that are over, and why each was given up, if it was.
    over: VecDeque<(u64, Option<LoadFailure>)>,
}

impl Reloads {
    fn end(&mut self, number: u64, failure: Option<LoadFailure>) {
        if self.over.len() >= REMEMBERED {
            self.over.pop_front();
        }
        self.over.push_back((number, failure));
    }

    /// How the reload of this number ended, if it has: why it was given up, or not.
    pub(super) fn end_of(&self, number: u64) -> Option<Option<&LoadFailure>> {
        let mut over = self.over.iter();
        let (_, failure) = over.find(|(known, _)| *known == number)?;
        Some(failure.as_ref())
    }
}

impl Master {
    /// Whether a reload is asked for that can begin at once.
    pub(super) fn may_reload(&self) -> bool {
        self.wanted.is_some()
            && self.preparing.is_none()
            && self.phase == Phase::Running
            && !self.is_reloading()
    }

    /// Whether a generation is being prepared beside the one that serves.
    pub(super) fn is_reloading(&self) -> bool {
        self.generations
            .iter()
            .any(|generation| generation.role == GenerationRole::Next)
    }

    pub(super) fn begin_reload(&mut self, now: Instant) {
        if self.is_reloading() {
            return;
        }
        let Some(next) = self.prepare_reload(now) else {
            return;
        };
        let next = next.and_then(|mode| {
            let plan = self.instance.next_plan()?;
            Ok((mode, self.generation(GenerationRole::Next, plan, now)?))
        });
        match next {
            Ok((mode, generation)) => {
                tracing::info!(
                    "reloading: generation {} is started beside the one that serves",
                    generation.number
                );
                self.mode = mode;
                self.generations.push(generation);
            }
            Err(reason) => {
                report::reload_refused(&reason);
                self.reload_failed(LoadFailure {
                    sentence: format!("{reason:#}"),
                    traceback: String::new(),
                });
            }
        }
    }

    pub(super) fn finish_reload(&mut self, now: Instant) {
        let ready = |generation: &Generation| {
            generation.role == GenerationRole::Next && generation.is_ready()
        };
        let Some(next) = self.generations.iter().position(ready) else {
            return;
        };
        if !self.passes_reloaded(next, now) {
            return;
        }
        self.keep_count(next, now);
        self.generations[next].take_over(now);
        self.keep_pause(next, now);
        let took = now.duration_since(self.generations[next].begun);
        self.instance.reloaded(&self.generations[next], took);
        self.services.settle(
            self.instance.config(),
            self.instance.companions(),
            &self.generations[next],
            now,
        );
        let number = self.reloads.begun;
        if let Some(earlier) = self.reloads.handing_over.replace(number) {
            self.reloads.end(earlier, None);
        }
        for (index, generation) in self.generations.iter_mut().enumerate() {
            match (generation.role, self.mode) {
                (GenerationRole::Current, ReloadMode::Graceful) if index != next => {
                    generation.dismiss(ToWorker::Retire, now);
                }
                (GenerationRole::Current, ReloadMode::Brutal) if index != next => {
                    generation.kill(now)
                }
                _ => {}
            }
        }
        self.told = None;
        if self.instance.config().log_reopen() {
            self.reopen_log();
        }
        self.begin_idle(now);
        self.watch_files(now);
    }

    /// A reload is over when only the new generation accepts.
    pub(super) fn finish_hand_over(&mut self) {
        let accepts = |generation: &Generation| {
            generation.role == GenerationRole::Old && generation.accepts()
        };
        if !self.generations.iter().any(accepts)
            && let Some(number) = self.reloads.handing_over.take()
        {
            self.reloads.end(number, None);
            self.instance.handed_over();
        }
    }

    pub(super) fn reload_failed(&mut self, failure: LoadFailure) {
        self.instance.reload_failed(&failure);
        // what was exchanged for the reload is another file now
        if let Some(watched) = &mut self.watched {
            watched.watch(&self.instance.watched_paths());
        }
        self.reloads.end(self.reloads.begun, Some(failure));
    }

    /// Watches the files of the configuration that serves, the same or others.
    pub(super) fn watch_files(&mut self, now: Instant) {
        self.touches.watch(self.instance.touched_files(), now);
        let logs = self.instance.config().touch_logreopen();
        self.log_touches.watch(logs.iter(), now);
        let paths = self.instance.watched_paths();
        if paths.is_empty() {
            self.watched = None;
        } else if self.watched.is_none() {
            match ReloadWatch::new() {
                Ok(watched) => self.watched = Some(watched),
                Err(error) => tracing::error!("fs-reload: files cannot be watched: {error}"),
            }
        }
        if let Some(watched) = &mut self.watched {
            watched.watch(&paths);
        }
    }

    /// When [`Master::look_at_files`] has something to do.
    pub(super) fn files_due(&self) -> Option<Instant> {
        let watched = self.watched.as_ref().and_then(ReloadWatch::deadline);
        let polled = [&self.touches, &self.modules, &self.log_touches].map(PollWatch::deadline);
        let due = polled.into_iter().flatten().chain(watched).min();
        due.filter(|_| self.phase == Phase::Running)
    }

    /// A change of a file asks for a reload.
    pub(super) fn look_at_files(&mut self, now: Instant) {
        let every = self.instance.config().py_autoreload();
        for generation in &mut self.generations {
            if let (Some(every), Some((files, since))) = (every, generation.take_files()) {
                let pause = every.max(SHORTEST_PAUSE);
                self.modules.add(files.into_iter(), since, pause, now);
            }
        }
        if let Some(path) = self.log_touches.changed(now) {
            tracing::info!("{} was touched", path.display());
            self.reopen_log();
        }
        if let Some(path) = self.touches.changed(now) {
            tracing::info!("{} was touched: reloading", path.display());
            self.wanted = self.wanted.max(Some(ReloadMode::Graceful));
        }
        if let Some(path) = self.modules.changed(now) {
            tracing::info!("{} was changed: reloading", path.display());
            self.wanted = self.wanted.max(Some(ReloadMode::Graceful));
        }
        if let Some((path, mode)) = self.watched.as_mut().and_then(|it| it.due(now)) {
            tracing::info!("{} has changed: reloading", path.display());
            self.wanted = self.wanted.max(Some(mode));
        }
    }
}
