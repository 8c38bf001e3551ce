//! Event source: the services of the instance; and the hooks that a start waits for.

use std::io;
use std::time::Instant;

use crate::exit;
use crate::master::hooks::{Outcome, Phase as HookPhase};
use crate::master::services::Surroundings;

use super::event_source::{Descriptor, EventSource, Token};
use super::master::Master;

/// Tokens: the position of a service's output.
pub(super) struct Source;

impl EventSource for Source {
    fn descriptors<'a>(&self, master: &'a Master) -> Vec<Descriptor<'a>> {
        let outputs = master.services.descriptors().zip(0..);
        outputs
            .map(|(fd, position)| Descriptor {
                fd,
                token: Token(position, 0),
            })
            .collect()
    }

    fn deadline(&self, master: &Master, _now: Instant) -> Option<Instant> {
        master.services.deadline()
    }

    fn ready(&self, master: &mut Master, tokens: &[Token], _now: Instant) -> io::Result<()> {
        let positions: Vec<usize> = tokens.iter().map(|Token(it, _)| *it as usize).collect();
        master.services.read(&positions);
        Ok(())
    }

    fn tick(&self, master: &mut Master, now: Instant) {
        master.tick_services(now);
    }
}

impl Master {
    /// Does what is due of services, and stops the instance if a service that controls it has exited.
    fn tick_services(&mut self, now: Instant) {
        if self.phase.is_stopping() {
            self.services.wind_down();
        }
        self.services.tick(&self.generations, now);
        if let Some(sentence) = self.services.last_word()
            && !self.phase.is_stopping()
        {
            self.stop(format!("{sentence}, and the instance with it"), now);
        }
    }

    /// Whether the hooks between the load and the service of the first generation have ended. A failure stops the instance.
    pub(super) fn passes_start(&mut self, generation: usize, now: Instant) -> bool {
        match self.after_load(generation, now) {
            Outcome::Busy => false,
            Outcome::Done => true,
            Outcome::Failed(sentence) => {
                tracing::error!("cannot start: {sentence}");
                self.last_failure = Some(sentence.into());
                self.stop_now(exit::FAILED, now);
                false
            }
            Outcome::Exit(status) => {
                tracing::info!("a hook requested the exit with status {status}");
                self.stop_now(status, now);
                false
            }
        }
    }

    /// Runs the hooks between the load of a generation and its service.
    pub(super) fn after_load(&mut self, generation: usize, now: Instant) -> Outcome {
        let generation = &self.generations[generation];
        let around = Surroundings::of(&generation.plan);
        let config = self.instance.next_config();
        self.services
            .pass(HookPhase::PostApp, generation.number, config, &around, now)
    }
}
