//! Event source: the processes of the generations, and failures of their starts.

use std::io;
use std::time::Instant;

use crate::exit;
use crate::ipc::LoadFailure;
use crate::master::generation::Generation;
use crate::master::report;
use crate::master::role::{self, FailureResponse, GenerationRole, StartFailure};

use super::event_source::{Descriptor, EventSource, Token};
use super::master::Master;

/// The event source of the channels to the zygotes and workers. A token has the generation's number and a row of the
/// scoreboard: the worker's row, or 0 for the zygote.
pub(super) struct Source;

impl EventSource for Source {
    fn descriptors<'a>(&self, master: &'a Master) -> Vec<Descriptor<'a>> {
        let of = |generation: &'a Generation| {
            let number = generation.number;
            let descriptors = generation.descriptors();
            descriptors.map(move |(row, fd)| Descriptor::readable(fd, Token(number, row)))
        };
        master.generations.iter().flat_map(of).collect()
    }

    fn deadline(&self, master: &Master, _now: Instant) -> Option<Instant> {
        let deadlines = master.generations.iter().map(Generation::deadline);
        deadlines.flatten().min()
    }

    fn ready(&self, master: &mut Master, tokens: &[Token], now: Instant) -> io::Result<()> {
        for Token(number, row) in tokens {
            let mut generations = master.generations.iter_mut();
            if let Some(generation) = generations.find(|it| it.number == *number) {
                generation.read_message(*row, now);
            }
        }
        Ok(())
    }

    fn tick(&self, master: &mut Master, now: Instant) {
        for index in 0..master.generations.len() {
            let holders = master.generations.iter().flat_map(Generation::id_holders);
            let holders: Vec<_> = holders.collect();
            master.generations[index].tick(&holders, now);
            master.tick_mules(index, now);
            for (name, message) in master.generations[index].take_alarms() {
                master.services.raise_known(&name, &message, now);
            }
        }
        master.handle_failures(now);
        master.remove_gone_generations(now);
    }
}

impl Master {
    /// Handles the deadlines of a generation's mules. A mule starts when no other generation has a mule with its id.
    fn tick_mules(&mut self, index: usize, now: Instant) {
        if self.generations[index].plan.app.mules.is_empty() {
            return;
        }
        let number = self.generations[index].number;
        let others = self.generations.iter().filter(|it| it.number != number);
        let taken = others.flat_map(Generation::mule_ids).collect();
        self.generations[index].tick_mules(&taken, now);
    }

    /// Handles the failed starts since the last tick. A stopping instance discards them.
    fn handle_failures(&mut self, now: Instant) {
        for index in 0..self.generations.len() {
            while let Some((failure, reason)) = self.generations[index].take_failure() {
                if !self.phase.is_stopping() {
                    self.handle_failure(index, failure, reason, now);
                }
            }
        }
    }

    fn handle_failure(
        &mut self,
        index: usize,
        failure: StartFailure,
        reason: Option<LoadFailure>,
        now: Instant,
    ) {
        let role = self.generations[index].role;
        if role == GenerationRole::Old {
            return;
        }
        let is_import = role == GenerationRole::Next && failure == StartFailure::NotLoaded;
        if is_import && reason.is_some() && self.repeat_import(index, reason.as_ref(), now) {
            return;
        }
        let generation = &mut self.generations[index];
        match role::response_to(generation.role, failure) {
            FailureResponse::Retry => {
                let Some(reason) = reason else { return };
                let next = generation
                    .zygote
                    .deadline()
                    .map_or_else(String::new, |due| {
                        format!("; the next attempt starts {}", report::when(due, now))
                    });
                let is_new = self.last_failure.as_ref() != Some(&reason);
                report::not_loaded(&reason, &next, is_new);
                self.last_failure = Some(reason);
            }
            FailureResponse::AbandonGeneration => {
                generation.abandon(now);
                let number = generation.number;
                if let Some(reason) = &reason {
                    report::not_loaded(reason, "", true);
                }
                tracing::error!(
                    "reload failed: generation {number} cannot serve; the workers of the running generation continue"
                );
                let reason = reason.unwrap_or_else(|| {
                    LoadFailure::from("its workers died at their start".to_owned())
                });
                self.reload_failed(reason);
            }
            FailureResponse::StopInstance => {
                if let Some(reason) = reason {
                    report::not_loaded(&reason, "", true);
                    self.last_failure = Some(reason);
                }
                self.stop_now(exit::NO_APP, now);
            }
        }
    }
}
