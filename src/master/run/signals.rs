//! Event source: signals, including SIGCHLD for the exits of children.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::master::signals::{self, SignalAction};
use crate::sys::signal::Signal;
use crate::sys::{process, terminal};

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
                Some(SignalAction::Stop) if master.stop_signals.is_same_request(now) => {}
                Some(SignalAction::Stop) => {
                    if signal == Signal::SIGINT && terminal::is_foreground() {
                        master.shorten_mercy();
                    }
                    master.stop(signal, now);
                }
                Some(SignalAction::Reload(mode)) => master.reloads.request(mode),
                Some(SignalAction::Report) => master.log_status(now),
                Some(SignalAction::Reap) => master.reap(now)?,
                None => {}
            }
        }
        Ok(())
    }
}

/// Time that requests in flight have after Ctrl-C on a terminal, unless `worker-reload-mercy` is set.
const TERMINAL_MERCY: Duration = Duration::from_secs(2);

impl Master {
    /// Shortens the time that requests in flight have to [`TERMINAL_MERCY`], unless it is configured. A user waits at
    /// the terminal, and a request at a debugger's prompt or a thread that does not end would delay the stop.
    fn shorten_mercy(&mut self) {
        let config = self.instance.config();
        let configured = |name: &str| ["worker-reload-mercy", "reload-mercy"].contains(&name);
        if config.entries().iter().any(|(name, ..)| configured(name)) {
            return;
        }
        for generation in &mut self.generations {
            generation.plan.mercy = generation.plan.mercy.min(TERMINAL_MERCY);
        }
    }

    /// Reaps exited children, and passes each exit status to the services or the generation that the child belongs to.
    /// An unknown child was left behind by the application, and is ignored.
    fn reap(&mut self, now: Instant) -> io::Result<()> {
        while let Some(end) = process::reap()? {
            if self.services.child_exited(end, now) {
                continue;
            }
            let mut generations = self.generations.iter_mut();
            if generations.any(|generation| generation.handle_exit(end, now)) {
                self.services.process_exited(end, now);
            }
        }
        Ok(())
    }
}
