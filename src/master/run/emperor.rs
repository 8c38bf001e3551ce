//! What the emperor wants of a vassal's master.

use std::time::{Duration, Instant};

use crate::exit;
use crate::ipc::ToVassal;
use crate::master::emperor_link::Heard;
use crate::master::generation::Generation;
use crate::master::signals::ReloadMode;

use super::{Master, Phase};

/// How long requests in flight may take when the emperor is gone: nobody would end them otherwise.
const ORPHAN_TIME: Duration = Duration::from_secs(4);

impl Master {
    /// Follows the emperor.
    pub(super) fn hear_emperor(&mut self, now: Instant) {
        match self.instance.resources_mut().emperor.hear() {
            Some(Heard::Order(ToVassal::Reload)) => {
                self.wanted = self.wanted.max(Some(ReloadMode::Graceful));
            }
            // a second word to stop would mean: at once
            Some(Heard::Order(ToVassal::Stop)) if matches!(self.phase, Phase::Stopping { .. }) => {}
            Some(Heard::Order(ToVassal::Stop)) => {
                self.instance.keeps_no_sockets();
                self.stop("the emperor", now);
            }
            Some(Heard::Order(ToVassal::StopNow)) => {
                self.instance.keeps_no_sockets();
                self.instance.stop_begins();
                self.kill_all(exit::OK, now);
            }
            Some(Heard::Order(ToVassal::Report)) => self.report_to_emperor(),
            Some(Heard::Question(question)) => self.hear_question(question, now),
            Some(Heard::Gone { stop: true }) => {
                tracing::warn!("the emperor is gone, and so this vassal stops");
                self.instance.keeps_no_sockets();
                self.orphaned = Some(now + ORPHAN_TIME);
                if !matches!(self.phase, Phase::Stopping { .. }) {
                    self.stop("the emperor's end", now);
                }
            }
            Some(Heard::Gone { stop: false }) => {
                tracing::warn!("the emperor is gone; this vassal serves on, as it was told to");
                self.instance.keeps_no_sockets();
            }
            None => {}
        }
    }

    /// Tells the emperor and systemd, if it is time, that this loop goes round; also while the instance starts or stops.
    pub(super) fn beat(&mut self, now: Instant) {
        let every = self.instance.config().heartbeat();
        let resources = self.instance.resources_mut();
        resources.emperor.beat(every, now);
        resources.notify.beat(now);
    }

    fn report_to_emperor(&mut self) {
        let serving: usize = self.generations.iter().map(Generation::serving_count).sum();
        let requests = self.generations.iter().map(Generation::requests).sum();
        let pids: Vec<i32> = self.generations.iter().flat_map(Generation::pids).collect();
        let workers = u32::try_from(serving).unwrap_or(u32::MAX);
        self.instance
            .resources()
            .emperor
            .report(workers, requests, &pids);
    }
}
