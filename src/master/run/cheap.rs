//! An instance without workers (`cheap`, `idle`): the master keeps the sockets and waits for the first connection, the
//! zygote keeps the application loaded. With `die-on-idle` the instance ends instead.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use crate::exit;
use crate::master::generation::Generation;
use crate::master::idle::Idle;
use crate::master::plan::Plan;
use crate::master::role::GenerationRole;
use crate::master::scale;
use crate::sys::poll;

use super::{Master, Phase};

impl Master {
    /// The generation that serves.
    fn current(&self) -> Option<&Generation> {
        self.generations
            .iter()
            .find(|generation| generation.role == GenerationRole::Current)
    }

    fn current_mut(&mut self) -> Option<&mut Generation> {
        self.generations
            .iter_mut()
            .find(|generation| generation.role == GenerationRole::Current)
    }

    /// Whether the sockets are the master's to watch.
    fn is_cheap(&self) -> bool {
        self.phase == Phase::Running
            && self.paused.is_none()
            && self
                .current()
                .is_some_and(|generation| generation.wanted() == 0)
    }

    /// Lets the workers go, whoever connects: connections wait until they are brought back in the same way.
    pub(super) fn pause(&mut self, now: Instant) {
        if let Some(wanted) = self.paused.take() {
            tracing::info!("the pause is over: the workers are started");
            if let Some(idle) = &mut self.idle {
                idle.awaken(now);
            }
            for generation in &mut self.generations {
                generation.scale(wanted, now);
            }
            return;
        }
        let Some(generation) = self.current_mut() else {
            return tracing::warn!("the instance does not serve yet, and so it cannot be paused");
        };
        let wanted = generation.wanted();
        generation.scale(0, now);
        self.paused = Some(wanted);
        tracing::info!("paused: the workers leave, and connections wait until p is written again");
    }

    /// A pause outlives a reload.
    pub(super) fn keep_pause(&mut self, next: usize, now: Instant) {
        if self.paused.is_some() {
            self.generations[next].scale(0, now);
        }
    }

    /// The sockets to wait for: those of an instance without workers.
    pub(super) fn watched_sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let cheap = self.is_cheap();
        self.current()
            .filter(|_| cheap)
            .into_iter()
            .flat_map(|generation| generation.plan.sockets.iter().map(|socket| socket.fd()))
    }

    /// How many workers a generation begins with, the first one or the next.
    pub(super) fn first_count(&self, plan: &Plan) -> u32 {
        let serving = self
            .current()
            .map(|generation| (generation.wanted(), generation.plan.app.serving.processes));
        scale::first_count(&plan.scale, serving, plan.app.lazy)
    }

    /// The load may have brought workers while the next generation was made ready.
    pub(super) fn keep_count(&mut self, next: usize, now: Instant) {
        let serving = self.current().map_or(0, Generation::wanted);
        if serving > self.generations[next].wanted() {
            self.generations[next].scale(serving, now);
        }
    }

    /// The clock of `idle` begins, for a generation that serves from now on.
    pub(super) fn begin_idle(&mut self, now: Instant) {
        let limit = self.instance.config().idle();
        self.idle = limit
            .filter(|limit| !limit.is_zero())
            .map(|limit| Idle::new(limit, now));
    }

    /// When [`Master::look_at_idleness`] has something to do.
    pub(super) fn idle_deadline(&self) -> Option<Instant> {
        let idle = self
            .idle
            .as_ref()
            .filter(|_| self.phase == Phase::Running && self.paused.is_none())?;
        // once cheap, time changes nothing; only an end is still to come
        (!self.is_cheap() || self.may_die()).then_some(idle.deadline())
    }

    /// Whether the end of the workers is to be the end of the instance.
    fn may_die(&self) -> bool {
        self.instance.config().die_on_idle()
    }

    /// Lets the workers go when nobody has asked for anything for so long; with `die-on-idle` the instance ends when
    /// they are gone and nothing waits.
    pub(super) fn look_at_idleness(&mut self, now: Instant) {
        let only_one = !self
            .generations
            .iter()
            .any(|generation| generation.role == GenerationRole::Next);
        let Some(generation) = self.current().filter(|_| self.paused.is_none()) else {
            return;
        };
        let (requests, busy) = (generation.requests_seen(), generation.is_busy());
        let (wanted, has_workers) = (generation.wanted(), generation.has_workers());
        let Some(idle) = &mut self.idle else { return };
        let seconds = idle.seconds();
        if !idle.look(requests, busy, now) || !only_one {
            return;
        }
        if wanted > 0 {
            tracing::info!(
                "no request for {seconds} s (idle): the workers leave until the next connection"
            );
            if let Some(generation) = self.current_mut() {
                generation.scale(0, now);
            }
            self.instance
                .status("idle: the next connection brings the workers back");
        } else if self.may_die() && !has_workers && !self.somebody_waits() {
            tracing::info!("no request for {seconds} s: the instance ends (die-on-idle)");
            self.instance.resources().emperor.idle();
            self.instance.stop_begins();
            self.phase = Phase::Stopping { status: exit::OK };
            self.let_go(now);
        }
    }

    fn somebody_waits(&self) -> bool {
        self.watched_sockets().any(poll::readable)
    }

    /// A connection waits at a socket of an instance without workers.
    pub(super) fn awaken(&mut self, now: Instant) {
        if !self.is_cheap() {
            return;
        }
        tracing::info!("a connection waits: the workers are started");
        if let Some(idle) = &mut self.idle {
            idle.awaken(now);
        }
        // a generation that is about to take over, too
        for generation in &mut self.generations {
            generation.scale(generation.plan.scale.initial, now);
        }
        self.instance.status("serving again after it was idle");
    }
}
