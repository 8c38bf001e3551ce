//! Reports processes that do not finish their start: how long the start has taken, and the Python stacks.

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
    /// Checks the processes whose start takes long. Sends the step signal as a probe; later logs the process, and sends
    /// the signal that makes it write its Python stacks.
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

    /// Start time of the oldest process that has not finished its start.
    pub(in crate::master) fn oldest_start(&self) -> Option<Instant> {
        self.starting().map(|(_, _, since)| since).min()
    }

    /// Duration of the longest successful start of a zygote or worker of this generation.
    pub(in crate::master) fn longest_start(&self) -> Duration {
        self.longest_start
    }

    /// Updates `longest_start` with the time that the zygote took to load the application.
    pub(super) fn note_start_of_zygote(&mut self, now: Instant) {
        if let Zygote::Loading { process } = self.zygote {
            let took = now.duration_since(process.since);
            self.longest_start = self.longest_start.max(took);
        }
    }

    /// Updates `longest_start` with the time that the worker in a slot took to become ready.
    pub(super) fn note_start_of_worker(&mut self, slot: usize, now: Instant) {
        if let SlotState::Starting { worker } = self.slots[slot].state {
            let took = now.duration_since(worker.since);
            self.longest_start = self.longest_start.max(took);
        }
    }

    /// The processes that have not finished their start: the worker id (`None` for the zygote), the pid, and the start
    /// time.
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

/// Sends a signal to a child if the child has installed a handler. Without a handler the signal would terminate the
/// child.
fn send_if_handled(pid: Pid, signal: i32) {
    if program::handles(pid, signal) {
        // a failure means that the child has exited; its exit status is handled when it is reaped
        let _ = process::signal_number(pid, signal);
    }
}
