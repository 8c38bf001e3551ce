//! What zygotes and workers say, and how they end.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use crate::ipc::{self, FromWorker, FromZygote};
use crate::master::death_report::{self, Death};
use crate::master::generation::{self, Mishap, Standing, Zygote};
use crate::master::slot::{self, Slot};
use crate::master::{report, zygote};
use crate::sys::oom::{Kills, Want};
use crate::sys::poll;
use crate::sys::process::{End, Exit, Pid};
use crate::sys::signal::Signal;

use super::{Crew, MOST_STRAYS};

impl Crew {
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
            FromZygote::Loaded => self.step_zygote(generation::Event::Loaded, now),
            FromZygote::Files(files) => self.files.extend(files),
            FromZygote::Failed(failure) => {
                self.failed = true;
                self.mishaps.push_back((Mishap::NotLoaded, Some(failure)));
                self.step_zygote(generation::Event::Ending, now);
            }
            FromZygote::Forked { row, pid } => {
                if let (Some(seat), Some(pid)) = (self.seat_of(row), Pid::new(pid)) {
                    self.step_slot(seat, slot::Event::Forked(pid), now);
                    self.bury_stray(pid, now);
                }
            }
            FromZygote::ForkFailed { row, errno } => {
                if let Some(seat) = self.seat_of(row) {
                    self.seats[seat].leash = None;
                    self.step_slot(seat, slot::Event::NotForked, now);
                    report::not_forked(
                        self.seats[seat].number,
                        &io::Error::from_raw_os_error(errno),
                        &self.seats[seat].slot,
                        now,
                    );
                }
            }
        }
    }

    fn seat_of(&self, row: u32) -> Option<usize> {
        let seat = (row as usize).checked_sub(1)?;
        (seat < self.seats.len()).then_some(seat)
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
        self.step_zygote(generation::Event::Ending, now);
    }

    /// Forks of a zygote that is gone will not be reported; a worker that was forked sees its leash end.
    fn end_forks(&mut self, now: Instant) {
        for seat in 0..self.seats.len() {
            if matches!(self.seats[seat].slot, Slot::Forking { .. }) {
                self.seats[seat].leash = None;
                self.step_slot(seat, slot::Event::NotForked, now);
            }
        }
    }

    /// Reads what the worker in `seat` says; call when its leash is readable.
    pub(in crate::master) fn hear_worker(&mut self, seat: usize, now: Instant) {
        let Some(leash) = &self.seats[seat].leash else {
            return;
        };
        match ipc::receive::<FromWorker>(leash.as_fd()) {
            Ok(Some((message, fds))) => {
                if let Some(stacks) = fds.into_iter().next() {
                    self.seats[seat].stacks = Some(stacks.into());
                }
                self.heard_worker(seat, message, now);
            }
            // it has gone or is about to: its exit tells the rest
            Ok(None) | Err(_) => self.seats[seat].leash = None,
        }
    }

    fn heard_worker(&mut self, seat: usize, message: FromWorker, now: Instant) {
        match message {
            FromWorker::Ready => {
                let hold = match self.standing {
                    Standing::Next => true,
                    Standing::First => self.plan.hooks_after_load,
                    _ => false,
                };
                self.step_slot(seat, slot::Event::Ready { hold }, now);
            }
            FromWorker::Failed(failure) => {
                let served = self.served;
                self.mishaps
                    .push_back((Mishap::NotLoadedInWorker { served }, Some(failure)));
            }
            FromWorker::Files(files) => self.files.extend(files),
            FromWorker::Closed => self.seats[seat].closed = true,
            FromWorker::Retiring => {
                let deadline = now + self.plan.mercy;
                let good = self.had_good_start(seat, now);
                self.step_slot(seat, slot::Event::Leaves { deadline }, now);
                // one that leaves as soon as it has come is followed with a pause, when it has gone
                if good {
                    self.want_successor(seat, now);
                }
            }
            FromWorker::Large => self.follow_large(seat, now),
            FromWorker::Stuck { thread } => self.condemn_stuck(seat, thread as usize, now),
        }
    }

    fn had_good_start(&self, seat: usize, now: Instant) -> bool {
        let requests = self.scoreboard.worker_requests(seat as u32 + 1);
        let worker = self.seats[seat].slot.worker();
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
        let seat = self
            .seats
            .iter()
            .position(|seat| seat.slot.worker().is_some_and(|worker| worker.pid == pid));
        if let Some(seat) = seat {
            self.worker_ended(seat, end, now);
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
        self.step_zygote(generation::Event::Exited, now);
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
            self.mishaps.push_back((Mishap::NotLoaded, Some(failure)));
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

    fn worker_ended(&mut self, seat: usize, end: End, now: Instant) {
        while self.seats[seat]
            .leash
            .as_ref()
            .is_some_and(|leash| poll::readable(leash.as_fd()))
        {
            self.hear_worker(seat, now);
        }
        self.seats[seat].leash = None;
        let requests = self.scoreboard.worker_requests(seat as u32 + 1);
        let before = self.seats[seat].slot;
        self.step_slot(seat, slot::Event::Exited { requests }, now);
        self.settle_slots(now);
        let after = self.seats[seat].slot;
        let death = Death {
            number: self.seats[seat].number,
            before,
            after,
            end,
            requests,
            doom: self.seats[seat].doom,
            lost: self.requests_in_flight(seat),
            want: self.want_of_memory(end.exit),
            stacks: self.seats[seat]
                .stacks
                .take()
                .and_then(death_report::stacks),
        };
        death_report::record(&death, now);
        let settings = &self.plan.app.serving.request_lines;
        death_report::log_requests(&death, self.requests(), settings);
        if matches!(before, Slot::Starting { .. }) {
            let failures = after.failures();
            self.mishaps
                .push_back((Mishap::FailedStart { failures }, None));
        }
    }
}
