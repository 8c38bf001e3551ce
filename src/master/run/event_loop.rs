//! The loop of the master. The loop runs in one thread, and poll(2) is the only place where it waits.

use std::io;
use std::time::{Duration, Instant};

use crate::master::plan::Plan;
use crate::master::role::GenerationRole;
use crate::sys::poll;

use super::event_source::{Descriptor, EventSource, Token};
use super::master::{Master, Phase};
use super::{
    app_signals, control, emperor, fifo, files, generations, idle, log, observer, reload,
    request_lines, services, shared_memory, signals, startup,
};

/// The event sources, in the order in which they are served. Workers and zygotes come first and signals last, so that
/// the last messages of a process are read before its exit is reaped (SIGCHLD). The control socket comes after the
/// sources that change the state, so that its responses show the new state.
const SOURCES: &[&dyn EventSource] = &[
    &generations::Source,
    &emperor::Source,
    &fifo::Source,
    &startup::Source,
    &reload::Completion,
    &files::Source,
    &log::Source,
    &request_lines::Source,
    &idle::Source,
    &reload::Requests,
    &services::Source,
    &app_signals::Source,
    &shared_memory::Source,
    &control::Source,
    &observer::Source,
    &emperor::Heartbeat,
    &signals::Source,
];

impl Master {
    /// Runs the instance until it stops, and returns the exit status. `first` is the plan of the first generation.
    ///
    /// # Errors
    /// When a system call fails that the master needs.
    pub(in crate::master) fn run(&mut self, first: Plan) -> io::Result<i32> {
        let now = Instant::now();
        // the watch starts before the load of the application, so no change of a file is missed
        self.watch_files(now);
        self.start_generation(GenerationRole::First, first, now)?;
        loop {
            let now = Instant::now();
            for source in SOURCES {
                source.tick(self, now);
            }
            if let Some(status) = self.finish_stop(Instant::now()) {
                return Ok(status);
            }
            let ready = self.wait()?;
            let now = Instant::now();
            for (source, tokens) in SOURCES.iter().zip(ready) {
                if !tokens.is_empty() {
                    source.ready(self, &tokens, now)?;
                }
            }
        }
    }

    /// Stops the services of a stopping instance once all workers and zygotes have exited. Returns the exit status when
    /// the services have stopped too.
    fn finish_stop(&mut self, now: Instant) -> Option<i32> {
        let Phase::Stopping { status, .. } = self.phase else {
            return None;
        };
        let stopped =
            self.generations.is_empty() && self.services.shut_down(self.instance.config(), now);
        stopped.then_some(status)
    }

    /// Waits until a descriptor is ready or a deadline has come. Returns for each source the tokens of its ready
    /// descriptors.
    fn wait(&self) -> io::Result<Vec<Vec<Token>>> {
        let descriptors: Vec<(usize, Descriptor<'_>)> = SOURCES
            .iter()
            .enumerate()
            .flat_map(|(index, source)| {
                let descriptors = source.descriptors(self).into_iter();
                descriptors.map(move |descriptor| (index, descriptor))
            })
            .collect();
        let fds: Vec<_> = descriptors
            .iter()
            .map(|(_, it)| (it.fd, it.interest))
            .collect();
        let mut ready = vec![Vec::new(); SOURCES.len()];
        for position in poll::wait_for(&fds, self.time_left())? {
            let (source, descriptor) = &descriptors[position];
            ready[*source].push(descriptor.token);
        }
        Ok(ready)
    }

    /// Time until the earliest deadline of all sources; `None` if no source has a deadline.
    fn time_left(&self) -> Option<Duration> {
        let now = Instant::now();
        let deadlines = SOURCES
            .iter()
            .filter_map(|source| source.deadline(self, now));
        Some(deadlines.min()?.saturating_duration_since(now))
    }
}
