//! Event sources: the emperor of a vassal, and the heartbeats of the master.

use std::io;
use std::time::{Duration, Instant};

use crate::exit;
use crate::ipc::ToVassal;
use crate::master::emperor_link::EmperorEvent;
use crate::master::generation::Generation;
use crate::master::signals::ReloadMode;

use super::event_source::{Descriptor, EventSource, Token};
use super::master::{Master, Phase};

/// Time that requests in flight have after the emperor's exit. Then the master kills its processes, because no emperor
/// will kill a vassal that does not stop.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(4);

/// The event source of the emperor's channel, and of the deadline of a stop after the emperor's exit.
pub(super) struct Source;

/// The event source of the heartbeats to the emperor and to systemd (watchdog). Heartbeats are also sent while the
/// instance starts or stops.
pub(super) struct Heartbeat;

impl EventSource for Source {
    fn descriptors<'a>(&self, master: &'a Master) -> Vec<Descriptor<'a>> {
        let descriptor = master.instance.resources().emperor.descriptor();
        descriptor.map(Descriptor::from).into_iter().collect()
    }

    fn deadline(&self, master: &Master, _now: Instant) -> Option<Instant> {
        match master.phase {
            Phase::Stopping { kill_at, .. } => kill_at,
            Phase::Starting | Phase::Running | Phase::Paused { .. } => None,
        }
    }

    fn ready(&self, master: &mut Master, _tokens: &[Token], now: Instant) -> io::Result<()> {
        master.handle_emperor_message(now);
        Ok(())
    }

    fn tick(&self, master: &mut Master, now: Instant) {
        if self.deadline(master, now).is_some_and(|due| due <= now) {
            master.kill_all(exit::OK, now);
        }
    }
}

impl EventSource for Heartbeat {
    fn deadline(&self, master: &Master, _now: Instant) -> Option<Instant> {
        let resources = master.instance.resources();
        let beats = [
            resources.emperor.beat_deadline(),
            resources.notify.beat_deadline(),
        ];
        beats.into_iter().flatten().min()
    }

    fn tick(&self, master: &mut Master, now: Instant) {
        let every = master.instance.config().heartbeat();
        let resources = master.instance.resources_mut();
        resources.emperor.beat(every, now);
        resources.notify.beat(now);
    }
}

impl Master {
    fn handle_emperor_message(&mut self, now: Instant) {
        match self.instance.resources_mut().emperor.receive() {
            Some(EmperorEvent::Order(ToVassal::Reload)) => {
                self.reloads.request(ReloadMode::Graceful)
            }
            // a second `Stop` from the emperor has no effect, because the emperor sends `StopNow` to kill the processes
            Some(EmperorEvent::Order(ToVassal::Stop)) if self.phase.is_stopping() => {}
            Some(EmperorEvent::Order(ToVassal::Stop)) => {
                self.instance.keeps_no_sockets();
                self.stop("the emperor", now);
            }
            Some(EmperorEvent::Order(ToVassal::StopNow)) => {
                self.instance.keeps_no_sockets();
                self.stop_now(exit::OK, now);
            }
            Some(EmperorEvent::Order(ToVassal::Report)) => self.report_to_emperor(),
            Some(EmperorEvent::Question(question)) => self.handle_forwarded(question, now),
            Some(EmperorEvent::Closed { stop: true }) => {
                tracing::warn!("the emperor has exited: this vassal stops");
                self.instance.keeps_no_sockets();
                if !self.phase.is_stopping() {
                    self.stop("the emperor's exit", now);
                }
                if let Phase::Stopping { kill_at, .. } = &mut self.phase {
                    *kill_at = Some(now + ORPHAN_TIMEOUT);
                }
            }
            Some(EmperorEvent::Closed { stop: false }) => {
                tracing::warn!(
                    "the emperor has exited: this vassal continues to serve, as configured"
                );
                self.instance.keeps_no_sockets();
            }
            None => {}
        }
    }

    fn report_to_emperor(&mut self) {
        let serving: usize = self.generations.iter().map(Generation::serving_count).sum();
        let requests = self.generations.iter().map(Generation::requests).sum();
        let pids: Vec<i32> = self.generations.iter().flat_map(Generation::pids).collect();
        let workers = u32::try_from(serving).unwrap_or(u32::MAX);
        let resources = self.instance.resources();
        resources.emperor.report(workers, requests, &pids);
    }
}
