//! Event source: an instance without workers (`cheap`, `idle`).
//!
//! The master watches the sockets for the first connection, and the zygote keeps the application loaded. With
//! `die-on-idle` the instance exits instead.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use crate::sys::poll;

use super::event_source::{Descriptor, EventSource, Token};
use super::master::{Master, Phase};

pub(super) struct Source;

impl EventSource for Source {
    fn descriptors<'a>(&self, master: &'a Master) -> Vec<Descriptor<'a>> {
        master.watched_sockets().map(Descriptor::from).collect()
    }

    fn deadline(&self, master: &Master, _now: Instant) -> Option<Instant> {
        let idle = master.idle.as_ref()?;
        // if the instance has no workers, only `die-on-idle` needs the timer
        let matters = !master.is_cheap() || master.exits_when_idle();
        (master.phase == Phase::Running && matters).then(|| idle.deadline())
    }

    fn ready(&self, master: &mut Master, _tokens: &[Token], now: Instant) -> io::Result<()> {
        master.start_workers(now);
        Ok(())
    }

    fn tick(&self, master: &mut Master, now: Instant) {
        if master.phase == Phase::Running {
            master.check_idle(now);
        }
    }
}

impl Master {
    /// Whether no workers are requested. The master then watches the sockets for a connection. False in a pause.
    fn is_cheap(&self) -> bool {
        self.phase == Phase::Running
            && self
                .current()
                .is_some_and(|generation| generation.wanted() == 0)
    }

    /// The sockets that the master watches for a connection: all sockets if no workers are requested, otherwise none.
    fn watched_sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let is_cheap = self.is_cheap();
        let current = self.current().filter(|_| is_cheap);
        let sockets = current.into_iter().flat_map(|it| &it.plan.sockets);
        sockets.map(|socket| socket.fd())
    }

    /// Whether the instance exits after the idle time (`die-on-idle`).
    fn exits_when_idle(&self) -> bool {
        self.instance.config().die_on_idle()
    }

    /// Retires the workers after `idle` seconds without a request. With `die-on-idle` the instance exits once the
    /// workers have exited and no connection waits.
    fn check_idle(&mut self, now: Instant) {
        let is_loading = self.reloads.is_loading();
        let Some(current) = self.current() else {
            return;
        };
        let (requests, busy) = (current.requests_seen(), current.is_busy());
        let (wanted, has_workers) = (current.wanted(), current.has_workers());
        let Some(idle) = &mut self.idle else { return };
        let seconds = idle.seconds();
        if !idle.check(requests, busy, now) || is_loading {
            return;
        }
        if wanted > 0 {
            tracing::info!(
                "no request for {seconds} s (idle): the workers exit until the next connection"
            );
            if let Some(current) = self.current_mut() {
                current.scale(0, now);
            }
            self.instance
                .status("idle: the next connection starts the workers");
        } else if self.exits_when_idle()
            && !has_workers
            && !self.watched_sockets().any(poll::readable)
        {
            tracing::info!("no request for {seconds} s: the instance exits (die-on-idle)");
            self.instance.resources().emperor.idle();
            self.drain(now);
        }
    }

    /// Starts the initial number of workers, because a connection waits at a socket of an instance without workers.
    fn start_workers(&mut self, now: Instant) {
        if !self.is_cheap() {
            return;
        }
        tracing::info!("a connection is waiting: starting the workers");
        if let Some(idle) = &mut self.idle {
            idle.restart(now);
        }
        // includes the generation that is about to take over
        for generation in &mut self.generations {
            generation.scale(generation.plan.scale.initial, now);
        }
        self.instance.status("serving again after it was idle");
    }
}
