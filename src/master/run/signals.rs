//! Event source: signals, among them SIGCHLD for the exits of children.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use crate::master::signals::{self, SignalAction};
use crate::sys::process;

use super::event_source::{Descriptor, EventSource, Token};
use super::master::Master;

pub(super) struct Source;

impl EventSource for Source {
    fn descriptors<'a>(&self, master: &'a Master) -> Vec<Descriptor<'a>> {
        vec![master.signals.as_fd().into()]
    }

    fn ready(&self, master: &mut Master, _tokens: &[Token], now: Instant) -> io::Result<()> {
        while let Some(signal) = master.signals.take()? {
            let configured = master.services.order(signal);
            let term_stops = master.instance.term_stops();
            match configured.or_else(|| signals::action(signal, term_stops)) {
                Some(SignalAction::Stop) => master.stop(signal, now),
                Some(SignalAction::Reload(mode)) => master.reloads.request(mode),
                Some(SignalAction::Report) => master.log_status(now),
                Some(SignalAction::Reap) => master.reap(now)?,
                None => {}
            }
        }
        Ok(())
    }
}

impl Master {
    /// Collects the exit statuses of children. A child that no part of the master knows was left behind by the application.
    fn reap(&mut self, now: Instant) -> io::Result<()> {
        while let Some(end) = process::reap()? {
            if self.services.child_exited(end, now) {
                continue;
            }
            let mut generations = self.generations.iter_mut();
            generations.any(|generation| generation.handle_exit(end, now));
        }
        Ok(())
    }
}
