//! Event source: the request lines that workers leave in shared memory.

use std::io;
use std::time::Instant;

use crate::master::line_collector::LineCollector;

use super::event_source::{Descriptor, EventSource, Token};
use super::master::Master;

pub(super) struct Source;

impl EventSource for Source {
    fn descriptors<'a>(&self, master: &'a Master) -> Vec<Descriptor<'a>> {
        let generations = master.generations.iter();
        let wakeups = generations.filter_map(|generation| {
            let fd = generation.lines.as_ref()?.wakeup();
            Some(Descriptor::readable(fd, Token(generation.number, 0)))
        });
        wakeups.collect()
    }

    fn deadline(&self, master: &Master, _now: Instant) -> Option<Instant> {
        let lines = master.generations.iter().flat_map(|it| &it.lines);
        lines.filter_map(LineCollector::due).min()
    }

    fn ready(&self, master: &mut Master, tokens: &[Token], now: Instant) -> io::Result<()> {
        let woken = master
            .generations
            .iter_mut()
            .filter(|generation| tokens.contains(&Token(generation.number, 0)));
        woken
            .flat_map(|generation| &mut generation.lines)
            .for_each(|lines| lines.woken(now));
        Ok(())
    }

    fn tick(&self, master: &mut Master, now: Instant) {
        let generations = master.generations.iter_mut();
        generations
            .flat_map(|generation| &mut generation.lines)
            .for_each(|lines| lines.tick(now));
    }
}
