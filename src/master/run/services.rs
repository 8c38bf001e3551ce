//! Event source: the services of the instance, and the hooks that a start waits for.

use std::io;
use std::time::Instant;

use crate::exit;
use crate::master::hooks::{Phase as HookPhase, Progress};
use crate::master::shell::command::CommandContext;

use super::event_source::{Descriptor, EventSource, Token};
use super::master::Master;

/// The event source of the services' output. The first number of a token is the index of the output.
pub(super) struct Source;

impl EventSource for Source {
    fn descriptors<'a>(&self, master: &'a Master) -> Vec<Descriptor<'a>> {
        let outputs = master.services.descriptors().zip(0..);
        outputs
            .map(|(fd, position)| Descriptor::readable(fd, Token(position, 0)))
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
    /// Handles expired deadlines of services and hooks. Stops the instance if a service with `control` has exited.
    fn tick_services(&mut self, now: Instant) {
        if self.phase.is_stopping() {
            self.services.drain();
        }
        self.services.tick(&self.generations, now);
        if let Some(reason) = self.services.take_stop_reason()
            && !self.phase.is_stopping()
        {
            self.stop(reason, now);
        }
    }

    /// Whether the `post-app` hooks of the first generation have succeeded. The first call starts them. If a hook fails
    /// or requests exit, the instance stops at once.
    pub(super) fn start_hooks_done(&mut self, generation: usize, now: Instant) -> bool {
        match self.run_post_app(generation, now) {
            Progress::Running => false,
            Progress::Done => true,
            Progress::Failed(sentence) => {
                tracing::error!("cannot start: {sentence}");
                self.last_failure = Some(sentence.into());
                self.stop_now(exit::FAILED, now);
                false
            }
            Progress::Exit(status) => {
                tracing::info!("a hook requested exit status {status}");
                self.stop_now(status, now);
                false
            }
        }
    }

    /// Starts the `post-app` hooks of a generation at the first call. Each call returns their progress without waiting.
    pub(super) fn run_post_app(&mut self, generation: usize, now: Instant) -> Progress {
        let generation = &self.generations[generation];
        let context = CommandContext::of_generation(&generation.plan);
        let config = self.instance.next_config();
        let phase = (HookPhase::PostApp, generation.number);
        self.services.poll_hooks(phase, config, &context, now)
    }
}
