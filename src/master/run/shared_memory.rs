//! Event source: the periodic work on the shared memory. An instance without shared memory has no such work.

use std::time::Instant;

use super::event_source::EventSource;
use super::master::Master;

pub(super) struct Source;

impl EventSource for Source {
    fn deadline(&self, master: &Master, _now: Instant) -> Option<Instant> {
        master.maintenance.deadline(master.instance.shared_memory())
    }

    fn tick(&self, master: &mut Master, now: Instant) {
        let every = master.instance.config().cache_expire_freq();
        let memory = master.instance.shared_memory();
        master.maintenance.run(memory, every, now);
    }
}
