//! What zygotes and workers say, and how they end.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use crate::ipc::{self, FromWorker, FromZygote};
use crate::master::death_report::{self, Death};
use crate::master::role::{GenerationRole, StartFailure};
use crate::master::slot::{self, SlotState};
use crate::master::zygote_state::{self, Zygote};
use crate::master::{report, zygote};
use crate::sys::oom::{Kills, Want};
use crate::sys::poll;
use crate::sys::process::{End, Exit, Pid};
use crate::sys::signal::Signal;

use super::{Generation, MOST_STRAYS};

impl Generation {
    /// Reads what the zygote says; call when its channel is readable.
    pub(in crate::master) fn hear_zygote(&mut self, now: Instant) {
        let Some(channel) = &self.channel else { return };
        match ipc::receive::<FromZygote>(channel.as_fd()) {
            Ok(Some((message, _))) => self.heard_zygote(message, now),
            Ok(None) => self.lose_zygote(None, now),
            Err(error) => self.lose_zygote(Some(error), now),
        }
    }

    fn heard_zygote(&mut self, message: FromZygote, now: Instant) {
        match message {
            FromZygote::Loaded => self.step_zygote(zygote_state::Event::Loaded, now),
            FromZygote::Files(files) => self.files.extend(files),
            FromZygote::Failed(failure) => {
                self.failed = true;
                self.failures
                    .push_back((StartFailure::NotLoaded, Some(failure)));
                self.step_zygote(zygote_state::Event::Ending, now);
            }
            FromZygote::Forked { row, pid } => {
                if let (Some(slot), Some(pid)) = (self.seat_of(row), Pid::new(pid)) {
                    self.step_slot(slot, slot::Event::Forked(pid), now);
                    self.bury_stray(pid, now);
                }
            }
            FromZygote::ForkFailed { row, errno } => {
                if let Some(slot) = self.seat_of(row) {
                    self.slots[slot].leash = None;
                    self.step_slot(slot, slot::Event::NotForked, now);
                    report::not_forked(
                        self.slots[slot].number,
                        &io::Error::from_raw_os_error(errno),
                        &self.slots[slot].state,
                        now,
                    );
                }
            }
        }
    }

    fn seat_of(&self, row: u32) -> Option<usize> {
        let slot = (row as usize).checked_sub(1)?;
        (slot < self.slots.len()).then_some(slot)
    }

    /// The worker may have ended before it was known.
    fn bury_stray(&mut self, pid: Pid, now: Instant) {
        if let Some(index) = self.strays.iter().position(|stray| stray.pid == pid) {
            let end = self.strays.swap_remove(index);
            self.ended(end, now);
        }
    }

    /// The channel ended or broke: the zygote's exit tells the rest.
    pub(super) fn lose_zygote(&mut self, error: Option<io::Error>, now: Instant) {
        self.channel = None;
        if let Some(error) = error {
            tracing::error!(
                "{}: its channel is broken: {error}",
                report::zygote_of(self.number)
            );
        }
        self.step_zygote(zygote_state::Event::Ending, now);
    }

    /// Forks of a zygote that is gone will not be reported; a worker that was forked sees its leash end.
    fn end_forks(&mut self, now: Instant) {
        for slot in 0..self.slots.len() {
            if matches!(self.slots[slot].state, SlotState::Forking { .. }) {
                self.slots[slot].leash = None;
                self.step_slot(slot, slot::Event::NotForked, now);
            }
        }
    }

    /// Reads what the worker in `slot` says; call when its leash is readable.
    pub(in crate::master) fn hear_worker(&mut self, slot: usize, now: Instant) {
        let Some(leash) = &self.slots[slot].leash else {
            return;
        };
        match ipc::receive::<FromWorker>(leash.as_fd()) {
            Ok(Some((message, fds))) => {
                if let Some(stacks) = fds.into_iter().next() {
                    self.slots[slot].stacks = Some(stacks.into());
                }
                self.heard_worker(slot, message, now);
            }
            // it has gone or is about to: its exit tells the rest
            Ok(None) | Err(_) => self.slots[slot].leash = None,
        }
    }

    fn heard_worker(&mut self, slot: usize, message: FromWorker, now: Instant) {
        match message {
            FromWorker::Ready => {
                let hold = match self.role {
                    GenerationRole::Next => true,
                    GenerationRole::First => self.plan.hooks_after_load,
                    _ => false,
                };
                self.step_slot(slot, slot::Event::Ready { hold }, now);
            }
            FromWorker::Failed(failure) => {
                let served = self.served;
                self.failures
                    .push_back((StartFailure::NotLoadedInWorker { served }, Some(failure)));
            }
            FromWorker::Files(files) => self.files.extend(files),
            FromWorker::Closed => self.slots[slot].closed = true,
            FromWorker::Retiring => {
                let deadline = now + self.plan.mercy;
                let good = self.had_good_start(slot, now);
                self.step_slot(slot, slot::Event::Leaves { deadline }, now);
                // one that leaves as soon as it has come is followed with a pause, when it has gone
                if good {
                    self.want_successor(slot, now);
                }
            }
            FromWorker::Large => self.follow_large(slot, now),
            FromWorker::Stuck { thread } => self.condemn_stuck(slot, thread as usize, now),
        }
    }

    fn had_good_start(&self, slot: usize, now: Instant) -> bool {
        let requests = self.scoreboard.worker_requests(slot as u32 + 1);
        let worker = self.slots[slot].state.worker();
        worker.is_some_and(|worker| {
            requests > 0 || now.duration_since(worker.since) >= slot::GOOD_START
        })
    }

    /// A child of the master has ended; `false` when it is none of this generation's.
    pub(in crate::master) fn ended(&mut self, end: End, now: Instant) -> bool {
        let pid = end.pid;
        if self.zygote.pid() == Some(pid) {
            self.zygote_ended(pid, end.exit, now);
            return true;
        }
        let slot = self
            .slots
            .iter()
            .position(|slot| slot.state.worker().is_some_and(|worker| worker.pid == pid));
        if let Some(slot) = slot {
            self.worker_ended(slot, end, now);
            return true;
        }
        if self.is_forking() && self.strays.len() < MOST_STRAYS {
            self.strays.push(end);
        }
        false
    }

    fn zygote_ended(&mut self, pid: Pid, exit: Exit, now: Instant) {
        // its last words first: they may name workers, or say why it went
        while self
            .channel
            .as_ref()
            .is_some_and(|channel| poll::readable(channel.as_fd()))
        {
            self.hear_zygote(now);
        }
        self.channel = None;
        let before = self.zygote;
        self.step_zygote(zygote_state::Event::Exited, now);
        self.end_forks(now);
        let loaded = match before {
            Zygote::Loading { .. } => false,
            Zygote::Ending { loaded, .. } => loaded,
            Zygote::Loaded { .. } => true,
            _ => return,
        };
        if self.failed {
            return;
        }
        if loaded {
            report::zygote_died(self.number, pid, exit, &self.zygote, now);
        } else {
            let want = self.want_of_memory(exit);
            let failure = zygote::died_while_loading(&self.plan, pid, exit, want);
            self.failures
                .push_back((StartFailure::NotLoaded, Some(failure)));
        }
    }

    /// Whether a worker that was killed was killed for want of memory.
    fn want_of_memory(&mut self, exit: Exit) -> Want {
        if exit != Exit::Signal(Signal::SIGKILL as i32) {
            return Want::None;
        }
        let kills = Kills::now();
        std::mem::replace(&mut self.oom, kills).until(kills)
    }

    fn worker_ended(&mut self, slot: usize, end: End, now: Instant) {
        while self.slots[slot]
            .leash
            .as_ref()
            .is_some_and(|leash| poll::readable(leash.as_fd()))
        {
            self.hear_worker(slot, now);
        }
        self.slots[slot].leash = None;
        let requests = self.scoreboard.worker_requests(slot as u32 + 1);
        let before = self.slots[slot].state;
        self.step_slot(slot, slot::Event::Exited { requests }, now);
        self.settle_slots(now);
        let after = self.slots[slot].state;
        let death = Death {
            number: self.slots[slot].number,
            before,
            after,
            end,
            requests,
            removal: self.slots[slot].removal,
            lost: self.requests_in_flight(slot),
            want: self.want_of_memory(end.exit),
            stacks: self.slots[slot]
                .stacks
                .take()
                .and_then(death_report::stacks),
        };
        death_report::record(&death, now);
        let settings = &self.plan.app.serving.request_log;
        death_report::log_requests(&death, self.requests(), settings);
        if matches!(before, SlotState::Starting { .. }) {
            let failures = after.failures();
            self.failures
                .push_back((StartFailure::FailedStart { failures }, None));
        }
    }
}
