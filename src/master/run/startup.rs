//! Event source: completes the start when the first generation is ready.

use std::time::Instant;

use crate::master::generation::Generation;

use super::event_source::EventSource;
use super::master::{Master, Phase};

pub(super) struct Source;

impl EventSource for Source {
    fn tick(&self, master: &mut Master, now: Instant) {
        if master.phase == Phase::Starting {
            master.finish_start(now);
        }
    }
}

impl Master {
    fn finish_start(&mut self, now: Instant) {
        let Some(first) = self.generations.iter().position(Generation::is_ready) else {
            return;
        };
        if !self.start_hooks_done(first, now) {
            return;
        }
        let first = &mut self.generations[first];
        first.take_over(now);
        self.phase = Phase::Running;
        self.ready_since = Some(now);
        self.instance
            .started(first, now.duration_since(first.begun));
        self.services
            .configure(self.instance.config(), self.instance.daemons(), first, now);
        self.start_idle_timer(now);
        self.watch_files(now);
    }
}
