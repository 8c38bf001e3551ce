//! Events are handed to the pure functions, and the actions that these answer are performed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use crate::ipc::{self, ToWorker, ToZygote};
use crate::master::role::StartFailure;
use crate::master::zygote_state;
use crate::master::{report, slot, zygote};
use crate::sys::packet;
use crate::sys::process::{self, Pid};

use super::{Generation, Watch};

impl Generation {
    pub(super) fn step_zygote(&mut self, event: zygote_state::Event, now: Instant) {
        let action;
        (self.zygote, action) = zygote_state::step(self.zygote, event, now);
        match action {
            zygote_state::Action::Nothing => {}
            zygote_state::Action::Spawn => self.spawn_zygote(now),
            zygote_state::Action::Kill => self.zygote.pid().into_iter().for_each(kill),
        }
    }

    fn spawn_zygote(&mut self, now: Instant) {
        self.failed = false;
        match zygote::spawn(&self.plan) {
            Ok((pid, channel)) => {
                self.step_zygote(zygote_state::Event::Spawned(pid), now);
                let loading = self.send_load(channel.as_fd());
                self.channel = Some(channel);
                if let Err(error) = loading {
                    self.lose_zygote(Some(error), now);
                }
            }
            Err(error) => {
                let failure = zygote::not_spawned(&self.plan, &error);
                self.failures
                    .push_back((StartFailure::NotLoaded, Some(failure)));
                self.step_zygote(zygote_state::Event::NotSpawned, now);
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

    pub(super) fn step_slot(&mut self, slot: usize, event: slot::Event, now: Instant) {
        let (state, action) = slot::step(self.slots[slot].state, event, now);
        self.slots[slot].state = state;
        match action {
            slot::Action::Nothing => {}
            slot::Action::Fork => {
                if let Err(error) = self.fork(slot) {
                    self.slots[slot].leash = None;
                    self.step_slot(slot, slot::Event::NotForked, now);
                    report::not_forked(
                        self.slots[slot].number,
                        &error,
                        &self.slots[slot].state,
                        now,
                    );
                }
            }
            slot::Action::Tell(word) => self.tell(slot, word),
            slot::Action::Kill => state
                .worker()
                .map(|worker| worker.pid)
                .into_iter()
                .for_each(kill),
            slot::Action::KillOverdue => {
                if let Some(worker) = state.worker() {
                    report::overdue(self.slots[slot].number, worker, self.plan.mercy);
                    kill(worker.pid);
                }
            }
        }
    }

    fn fork(&mut self, slot: usize) -> io::Result<()> {
        let row = slot as u32 + 1;
        self.scoreboard.reset_worker(row);
        self.slots[slot].watches.fill(Watch::InTime);
        self.slots[slot].stacks = None;
        self.slots[slot].removal = None;
        self.slots[slot].closed = false;
        self.slots[slot].hopeless = None;
        self.slots[slot].memory = None;
        self.slots[slot].busy = 0;
        let (ours, theirs) = packet::pair()?;
        self.slots[slot].leash = Some(ours);
        let channel = self.channel.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        // it always waits for the word: until then it can be let go without a request being lost
        let request = ToZygote::Fork {
            slot: self.slots[slot].number,
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
        for leash in self.slots.iter().filter_map(|slot| slot.leash.as_ref()) {
            let _ = ipc::send(leash.as_fd(), &ToWorker::Log, &[log]);
        }
    }

    pub(super) fn tell(&mut self, slot: usize, word: ToWorker) {
        self.served |= word == ToWorker::Serve;
        if let Some(leash) = &self.slots[slot].leash {
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
