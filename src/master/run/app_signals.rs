//! Event source: the signals of the application. The master raises a signal when its trigger is due, and sends a
//! message to the workers.

use std::io;
use std::time::Instant;

use crate::ipc::SignalTarget;
use crate::master::app_signals::Raised;
use crate::master::role::GenerationRole;

use super::event_source::{Descriptor, EventSource, Token};
use super::master::Master;

pub(super) struct Source;

impl EventSource for Source {
    fn descriptors<'a>(&self, master: &'a Master) -> Vec<Descriptor<'a>> {
        let descriptor = master.app_signals.descriptor();
        descriptor.map(Descriptor::from).into_iter().collect()
    }

    fn deadline(&self, master: &Master, _now: Instant) -> Option<Instant> {
        let due = master.app_signals.deadline();
        due.filter(|_| master.phase.is_started())
    }

    fn ready(&self, master: &mut Master, _tokens: &[Token], now: Instant) -> io::Result<()> {
        master.app_signals.read(now);
        Ok(())
    }

    fn tick(&self, master: &mut Master, now: Instant) {
        if master.phase.is_started() {
            master.adopt_signals(now);
            master.raise_signals(now);
        }
    }
}

impl Master {
    /// Applies the triggers of the current generation, after a reload or a change. After a reload, the new generation
    /// gets the signals that no old worker has handled.
    fn adopt_signals(&mut self, now: Instant) {
        let role = |role| move |it: &crate::master::generation::Generation| it.role == role;
        let Some(current) = self
            .generations
            .iter()
            .position(role(GenerationRole::Current))
        else {
            return;
        };
        let number = self.generations[current].number;
        let is_new = self.app_signals.generation != number;
        if !self.generations[current].take_signals_changed() && !is_new {
            return;
        }
        let triggers = self.generations[current].signals().triggers();
        self.app_signals.adopt(number, triggers, now);
        if is_new {
            self.move_signals(current, now);
        }
    }

    /// Moves the signals that wait for any worker from the old generations to the generation with the index `to`.
    fn move_signals(&mut self, to: usize, now: Instant) {
        let mut moved = Vec::new();
        let old = self.generations.iter();
        for generation in old.filter(|it| it.role == GenerationRole::Old) {
            if let Some(shared) = generation.shared_signals() {
                moved.extend(shared.numbers().map(|it| (it, shared.take_all(it))));
            }
        }
        for (number, count) in moved {
            let last = &mut self.app_signals.last_row;
            self.generations[to].raise_shared(number, count, last);
            self.app_signals.signals_wait(now);
        }
    }

    /// Raises the signals whose triggers are due, and the signals that the application has raised.
    fn raise_signals(&mut self, now: Instant) {
        for index in 0..self.generations.len() {
            if self.generations[index].role == GenerationRole::Next {
                continue;
            }
            for number in self.generations[index].take_raised() {
                self.raise_signal(number, Raised::ByApplication, now);
            }
        }
        for number in self.app_signals.due(now) {
            self.raise_signal(number, Raised::ByTrigger, now);
        }
        if self.app_signals.take_repeat(now) {
            for generation in &mut self.generations {
                let waits = generation.shared_signals();
                if waits.is_some_and(|it| it.numbers().next().is_some()) {
                    generation.repeat_signals();
                    if generation.role != GenerationRole::Old {
                        self.app_signals.signals_wait(now);
                    }
                }
            }
        }
    }

    fn raise_signal(&mut self, number: u8, raised: Raised, now: Instant) {
        let Some(current) = self.current() else {
            return;
        };
        let Some(target) = current.signals().target(number).cloned() else {
            tracing::warn!("signal {number} was raised, but the application has not registered it");
            return;
        };
        match &target {
            SignalTarget::AnyWorker => self.raise_in_any(number, raised, now),
            SignalTarget::Workers | SignalTarget::Worker(_) => {
                let is_tick = raised == Raised::ByTrigger;
                let mut skipped = 0;
                for generation in &mut self.generations {
                    if generation.role != GenerationRole::Old {
                        skipped += generation.raise_in_each(number, &target, is_tick);
                    }
                }
                (0..skipped).for_each(|_| self.app_signals.skip(number, now));
            }
            SignalTarget::AnyMule
            | SignalTarget::Mules
            | SignalTarget::Mule(_)
            | SignalTarget::Farm(_) => self.raise_in_mules(number, &target, raised, now),
            SignalTarget::Unknown(_) => {
                tracing::warn!("signal {number} was raised, but no process has its target");
            }
        }
    }

    /// Raises a signal that mules of the current generation handle.
    fn raise_in_mules(&mut self, number: u8, target: &SignalTarget, raised: Raised, now: Instant) {
        let is_tick = raised == Raised::ByTrigger;
        let role = GenerationRole::Current;
        let Some(index) = self.generations.iter().position(|it| it.role == role) else {
            return;
        };
        let last = &mut self.app_signals.last_row;
        match self.generations[index].raise_in_mules(number, target, is_tick, last) {
            Some(skipped) => (0..skipped).for_each(|_| self.app_signals.skip(number, now)),
            None => tracing::warn!("signal {number} was raised, but none of its mules runs"),
        }
    }

    /// Raises a signal that the first free worker handles. During a reload this is a worker of the new generation if
    /// the current generation has no worker left.
    fn raise_in_any(&mut self, number: u8, raised: Raised, now: Instant) {
        let is_active = self
            .generations
            .iter()
            .any(|it| it.is_signal_active(number));
        if raised == Raised::ByTrigger && is_active {
            self.app_signals.skip(number, now);
            return;
        }
        let chosen = [GenerationRole::Current, GenerationRole::TakingOver];
        let mut chosen = chosen.into_iter().filter_map(|role| {
            let mut generations = self.generations.iter();
            generations.position(|it| it.role == role && it.handles_signal(number))
        });
        let current =
            |it: &crate::master::generation::Generation| it.role == GenerationRole::Current;
        let index = chosen
            .next()
            .or_else(|| self.generations.iter().position(current));
        let Some(index) = index else { return };
        let last = &mut self.app_signals.last_row;
        if !self.generations[index].raise_shared(number, 1, last) {
            self.app_signals.skip(number, now);
        }
        self.app_signals.signals_wait(now);
    }
}
