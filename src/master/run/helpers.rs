//! The master and its helpers: what they ask of it, and the hooks that a generation waits for.

use std::time::Instant;

use anyhow::{Result, bail};

use crate::exit;
use crate::ipc::LoadFailure;
use crate::master::hooks::{Outcome, Phase as Moment};
use crate::master::services::Surroundings;
use crate::master::signals::ReloadMode;

use super::{Master, Phase};

impl Master {
    /// Does what is due of helpers, and follows one that has the instance in its hands.
    pub(super) fn tend_helpers(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Stopping { .. }) {
            self.services.wind_down();
        }
        self.services.tick(&self.generations, now);
        if let Some(sentence) = self.services.last_word()
            && !matches!(self.phase, Phase::Stopping { .. })
        {
            self.stop(format!("{sentence}, and the instance with it"), now);
        }
    }

    /// Whether the hooks are done that the first generation waits for; a failure ends the instance.
    pub(super) fn passes_start(&mut self, generation: usize, now: Instant) -> bool {
        match self.after_load(generation, now) {
            Outcome::Busy => false,
            Outcome::Done => true,
            Outcome::Failed(sentence) => {
                tracing::error!("cannot start: {sentence}");
                self.told = Some(LoadFailure {
                    sentence,
                    traceback: String::new(),
                });
                self.leave(exit::FAILED, now);
                false
            }
            Outcome::Exit(status) => {
                tracing::info!("a hook asked for the end, with status {status}");
                self.leave(status, now);
                false
            }
        }
    }

    /// Reads the configuration of the next generation, if one is wanted, and waits for the hooks before it; `None`
    /// if there is nothing to go on with yet.
    pub(super) fn prepare_reload(&mut self, now: Instant) -> Option<Result<ReloadMode>> {
        let mode = match self.preparing.take() {
            Some(mode) => mode,
            None => {
                let mode = self.wanted.take()?;
                self.reloads.begun += 1;
                self.instance.reload_begins();
                if let Err(error) = self.instance.renew() {
                    return Some(Err(error));
                }
                mode
            }
        };
        match self.passes_reload(now) {
            Ok(true) => Some(Ok(mode)),
            Ok(false) => {
                self.preparing = Some(mode);
                None
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Whether the hooks are done that the next generation waits for before it is begun.
    fn passes_reload(&mut self, now: Instant) -> Result<bool> {
        let config = self.instance.next_config();
        if Moment::PreApp.is_empty(config) {
            return Ok(true);
        }
        let around = Surroundings::here(config);
        let generation = self.generations_started + 1;
        match self
            .services
            .pass(Moment::PreApp, generation, config, &around, now)
        {
            Outcome::Busy => Ok(false),
            Outcome::Done => Ok(true),
            Outcome::Failed(sentence) => bail!(sentence),
            Outcome::Exit(status) => bail!("a hook asked for the end, with status {status}"),
        }
    }

    /// Whether the hooks are done that the next generation waits for before it serves; a failure ends the reload.
    pub(super) fn passes_reloaded(&mut self, generation: usize, now: Instant) -> bool {
        let reason = match self.after_load(generation, now) {
            Outcome::Busy => return false,
            Outcome::Done => return true,
            Outcome::Failed(sentence) => sentence,
            Outcome::Exit(status) => format!("a hook asked for the end, with status {status}"),
        };
        let number = self.generations[generation].number;
        self.generations[generation].kill(now);
        tracing::error!(
            "the reload is given up: {reason}; generation {number} does not serve, the workers of the one before do"
        );
        self.reload_failed(LoadFailure {
            sentence: reason,
            traceback: String::new(),
        });
        false
    }

    fn after_load(&mut self, generation: usize, now: Instant) -> Outcome {
        let generation = &self.generations[generation];
        let around = Surroundings::of(&generation.plan);
        let config = self.instance.next_config();
        self.services
            .pass(Moment::PostApp, generation.number, config, &around, now)
    }
}
