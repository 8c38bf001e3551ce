//! Events are handed to the pure functions, and the actions that these answer are performed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use crate::ipc::{self, ToWorker, ToZygote};
use crate::master::generation::{self, Mishap};
use crate::master::{report, slot, zygote};
use crate::sys::packet;
use crate::sys::process::{self, Pid};

use super::{Crew, Watch};

impl Crew {
    pub(super) fn step_zygote(&mut self, event: generation::Event, now: Instant) {
        let action;
        (self.zygote, action) = generation::step(self.zygote, event, now);
        match action {
            generation::Action::Nothing => {}
            generation::Action::Spawn => self.spawn_zygote(now),
            generation::Action::Kill => self.zygote.pid().into_iter().for_each(kill),
        }
    }

    fn spawn_zygote(&mut self, now: Instant) {
        self.failed = false;
        match zygote::spawn(&self.plan) {
            Ok((pid, channel)) => {
                self.step_zygote(generation::Event::Spawned(pid), now);
                let loading = self.send_load(channel.as_fd());
                self.channel = Some(channel);
                if let Err(error) = loading {
                    self.lose_zygote(Some(error), now);
                }
            }
            Err(error) => {
                let failure = zygote::not_spawned(&self.plan, &error);
                self.mishaps.push_back((Mishap::NotLoaded, Some(failure)));
                self.step_zygote(generation::Event::NotSpawned, now);
            }
        }
    }

    fn send_load(&self, channel: BorrowedFd<'_>) -> io::Result<()> {
        let mut fds = vec![self.scoreboard.fd()];
        fds.extend(self.plan.sockets.iter().map(|socket| socket.fd()));
        ipc::send(
            channel,
            &ToZygote::Load(Box::new(self.plan.app.clone())),
            &fds,
        )
    }

    pub(super) fn step_slot(&mut self, seat: usize, event: slot::Event, now: Instant) {
        let (slot, action) = slot::step(self.seats[seat].slot, event, now);
        self.seats[seat].slot = slot;
        match action {
            slot::Action::Nothing => {}
            slot::Action::Fork => {
                if let Err(error) = self.fork(seat) {
                    self.seats[seat].leash = None;
                    self.step_slot(seat, slot::Event::NotForked, now);
                    report::not_forked(
                        self.seats[seat].number,
                        &error,
                        &self.seats[seat].slot,
                        now,
                    );
                }
            }
            slot::Action::Tell(word) => self.tell(seat, word),
            slot::Action::Kill => slot
                .worker()
                .map(|worker| worker.pid)
                .into_iter()
                .for_each(kill),
            slot::Action::KillOverdue => {
                if let Some(worker) = slot.worker() {
                    report::overdue(self.seats[seat].number, worker, self.plan.mercy);
                    kill(worker.pid);
                }
            }
        }
    }

    fn fork(&mut self, seat: usize) -> io::Result<()> {
        let (slot, row) = (self.seats[seat].number, seat as u32 + 1);
        self.scoreboard.reset_worker(row);
        self.seats[seat].watches.fill(Watch::InTime);
        self.seats[seat].stacks = None;
        self.seats[seat].doom = None;
        self.seats[seat].closed = false;
        self.seats[seat].hopeless = None;
        self.seats[seat].memory = None;
        self.seats[seat].busy = 0;
        let (ours, theirs) = packet::pair()?;
        self.seats[seat].leash = Some(ours);
        let channel = self.channel.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        // it always waits for the word: until then it can be let go without a request being lost
        let request = ToZygote::Fork {
            slot,
            row,
            hold: true,
        };
        ipc::send(channel.as_fd(), &request, &[theirs.as_fd()])
    }

    /// The zygote and the workers are to write their output to this file from now on.
    pub(in crate::master) fn tell_log(&self, log: BorrowedFd<'_>) {
        // those that cannot be told have gone
        if let Some(channel) = &self.channel {
            let _ = ipc::send(channel.as_fd(), &ToZygote::Log, &[log]);
        }
        for leash in self.seats.iter().filter_map(|seat| seat.leash.as_ref()) {
            let _ = ipc::send(leash.as_fd(), &ToWorker::Log, &[log]);
        }
    }

    pub(super) fn tell(&mut self, seat: usize, word: ToWorker) {
        self.served |= word == ToWorker::Serve;
        if let Some(leash) = &self.seats[seat].leash {
            // a worker that cannot be told has gone: its exit tells the rest
            let _ = ipc::send(leash.as_fd(), &word, &[]);
        }
    }
}

fn kill(pid: Pid) {
    if let Err(error) = process::kill_hard(pid) {
        tracing::error!("process {pid} cannot be killed: {error}");
    }
}
