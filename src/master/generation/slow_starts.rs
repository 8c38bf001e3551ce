//! Processes that do not finish their start: the log says for how long, and shows their Python stacks.

use std::time::{Duration, Instant};

use crate::ipc::start_watch;
use crate::master::report;
use crate::master::slot::SlotState;
use crate::master::slow_start::{Action, SlowStart};
use crate::master::zygote_state::Zygote;
use crate::sys::process::{self, Pid};
use crate::sys::program;

use super::Generation;

impl Generation {
    /// Probes and reports the processes whose start takes long.
    pub(super) fn check_starts(&mut self, now: Instant) {
        let before = std::mem::take(&mut self.slow_starts);
        let mut after = Vec::new();
        for (worker_id, pid, since) in self.starting() {
            let known = before.iter().find(|it| it.pid == pid && it.since == since);
            let (next, action) = known
                .copied()
                .unwrap_or_else(|| SlowStart::new(pid, since))
                .step(now);
            after.push(next);
            match action {
                Action::Nothing => {}
                Action::Probe => {
                    send_if_handled(pid, start_watch::step_signal());
                }
                Action::Report => {
                    let who = worker_id.map_or_else(
                        || report::zygote_of(self.number),
                        |number| format!("worker {number}"),
                    );
                    let signal = start_watch::stack_signal();
                    let has_stack = program::handles(pid, signal);
                    report::slow_start(&who, &next, has_stack, now);
                    send_if_handled(pid, signal);
                }
            }
        }
        self.slow_starts = after;
    }

    /// When the first process was started of those that have not finished their start.
    pub(in crate::master) fn oldest_start(&self) -> Option<Instant> {
        self.starting().map(|(_, _, since)| since).min()
    }

    /// The longest start of its processes that has succeeded.
    pub(in crate::master) fn longest_start(&self) -> Duration {
        self.longest_start
    }

    /// Notes how long the zygote has taken to load the application.
    pub(super) fn note_start_of_zygote(&mut self, now: Instant) {
        if let Zygote::Loading { process } = self.zygote {
            let took = now.duration_since(process.since);
            self.longest_start = self.longest_start.max(took);
        }
    }

    /// Notes how long the worker in a slot has taken to become ready.
    pub(super) fn note_start_of_worker(&mut self, slot: usize, now: Instant) {
        if let SlotState::Starting { worker } = self.slots[slot].state {
            let took = now.duration_since(worker.since);
            self.longest_start = self.longest_start.max(took);
        }
    }

    /// The processes that have not finished their start, and when they were started: of a worker with its id, the zygote
    /// without.
    fn starting(&self) -> impl Iterator<Item = (Option<u32>, Pid, Instant)> {
        let zygote = match self.zygote {
            Zygote::Loading { process } => Some((None, process.pid, process.since)),
            _ => None,
        };
        let workers = self.slots.iter().filter_map(|slot| match slot.state {
            SlotState::Starting { worker } => {
                Some((Some(slot.worker_id), worker.pid, worker.since))
            }
            _ => None,
        });
        zygote.into_iter().chain(workers)
    }
}

/// Sends a signal to a child of this process; not before it has installed its handler, because the signal would end it.
fn send_if_handled(pid: Pid, signal: i32) {
    if program::handles(pid, signal) {
        // a failure means that it has ended: its exit status follows
        let _ = process::signal_number(pid, signal);
    }
}
