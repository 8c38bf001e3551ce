//! Messages from the zygote and the workers, and the exits of these processes.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::ipc::{self, FromWorker, FromZygote, ToWorker};
use crate::master::death_report::{self, Death};
use crate::master::role::{GenerationRole, StartFailure};
use crate::master::slot::{self, SlotState};
use crate::master::zygote_state::{self, EndCause, Zygote};
use crate::master::{report, zygote};
use crate::sys::deferred_close;
use crate::sys::oom::{OomKills, OomScope};
use crate::sys::poll;
use crate::sys::process::{End, Exit, Pid};
use crate::sys::signal::Signal;
use crate::sys::stream;

use super::Generation;

/// Maximum number of exits of unknown children that are kept while a fork is pending.
const MAX_UNKNOWN_EXITS: usize = 256;

/// Maximum number of alarms of the application that wait for the master. Further alarms are dropped.
const MAX_ALARMS: usize = 32;

/// Maximum number of messages that are read from the channel of a process that has exited.
const MAX_LAST_MESSAGES: usize = 1000;

impl Generation {
    /// Reads and handles one message from the worker with this scoreboard row, or from the zygote if `row` is 0. The
    /// process's channel must be readable.
    pub(in crate::master) fn read_message(&mut self, row: u32, now: Instant) {
        match (self.slot_of(row), self.mule_of(row)) {
            (Some(slot), _) => self.read_worker(slot, now),
            (None, Some(mule)) => self.read_mule(mule, now),
            (None, None) => self.read_zygote(now),
        }
    }

    fn slot_of(&self, row: u32) -> Option<usize> {
        let slot = (row as usize).checked_sub(1)?;
        (slot < self.slots.len()).then_some(slot)
    }

    fn read_zygote(&mut self, now: Instant) {
        let Some(channel) = &self.channel else { return };
        match ipc::receive::<FromZygote>(channel.as_fd()) {
            Ok(Some((message, fds))) => {
                deferred_close::close(fds);
                self.handle_zygote_message(message, now);
            }
            Ok(None) => self.on_zygote_lost(None, now),
            Err(error) => self.on_zygote_lost(Some(error), now),
        }
    }

    fn handle_zygote_message(&mut self, message: FromZygote, now: Instant) {
        match message {
            FromZygote::Loaded => {
                self.note_start_of_zygote(now);
                self.step_zygote(zygote_state::Event::Loaded, now);
            }
            FromZygote::Taken(names) => self.taken = names,
            FromZygote::Signal(request) => self.handle_signal_request(None, request),
            FromZygote::Files(files) => self.new_files.extend(files),
            FromZygote::Failed(failure) => {
                self.failures
                    .push_back((StartFailure::NotLoaded, Some(failure)));
                self.step_zygote(zygote_state::Event::LoadFailed, now);
            }
            FromZygote::Forked { row, pid } => {
                if let (Some(mule), Some(pid)) = (self.mule_of(row), Pid::new(pid)) {
                    self.step_mule(mule, slot::Event::Forked(pid), now);
                    self.handle_early_exit(pid, now);
                } else if let (Some(slot), Some(pid)) = (self.slot_of(row), Pid::new(pid)) {
                    self.step_slot(slot, slot::Event::Forked(pid), now);
                    if self.import_is_suspended {
                        self.send(slot, ToWorker::Release);
                    }
                    self.handle_early_exit(pid, now);
                }
                self.fork_watch.answered(self.is_forking(), now);
            }
            FromZygote::ForkFailed { row, errno } => {
                let error = io::Error::from_raw_os_error(errno);
                if let Some(slot) = self.slot_of(row) {
                    self.fork_failed(slot, &error, now);
                } else if let Some(mule) = self.mule_of(row) {
                    self.mule_not_forked(mule, &error, now);
                }
                self.fork_watch.answered(self.is_forking(), now);
            }
        }
    }

    /// Handles the exit of a worker that exited before the zygote reported its pid.
    fn handle_early_exit(&mut self, pid: Pid, now: Instant) {
        if let Some(index) = self.unknown_exits.iter().position(|end| end.pid == pid) {
            let end = self.unknown_exits.swap_remove(index);
            self.handle_exit(end, now);
        }
    }

    fn read_worker(&mut self, slot: usize, now: Instant) {
        let Some(leash) = self.slots[slot].leash() else {
            return;
        };
        match ipc::receive::<FromWorker>(leash.as_fd()) {
            Ok(Some((message, fds))) => {
                self.keep_stacks(slot, fds);
                self.handle_worker_message(slot, message, now);
            }
            // the worker has exited or is about to; its exit status is handled when it is reaped
            Ok(None) | Err(_) => self.slots[slot].close_leash(),
        }
    }

    /// Keeps the memory file in which a worker writes the stacks of its threads, if a message contained it. Closes all
    /// other descriptors in another thread. The application can send any descriptor. Reading another kind of file, or
    /// closing a socket, could block the master.
    fn keep_stacks(&mut self, slot: usize, mut fds: Vec<OwnedFd>) {
        if let Some(record) = &mut self.slots[slot].record
            && record.stacks.is_none()
            && let Some(at) = fds.iter().position(|fd| stream::is_memory_file(fd.as_fd()))
        {
            record.stacks = Some(fds.swap_remove(at).into());
        }
        deferred_close::close(fds);
    }

    fn handle_worker_message(&mut self, slot: usize, message: FromWorker, now: Instant) {
        match message {
            FromWorker::Ready => {
                self.note_start_of_worker(slot, now);
                let hold = match self.role {
                    GenerationRole::First => self.plan.hooks_after_load,
                    _ => false,
                };
                self.step_slot(slot, slot::Event::Ready { hold }, now);
            }
            FromWorker::Failed(failure) => {
                let served = self.has_served;
                self.failures
                    .push_back((StartFailure::NotLoadedInWorker { served }, Some(failure)));
            }
            FromWorker::Released => {
                if let Some(record) = &mut self.slots[slot].record {
                    record.released = true;
                }
            }
            FromWorker::Finished => {
                if let Some(record) = &mut self.slots[slot].record {
                    record.finished = true;
                }
            }
            FromWorker::Deadline { seconds } => {
                self.has_own_deadlines = true;
                self.check_by(now + Duration::from_secs(seconds.into()));
            }
            FromWorker::Signal(request) => self.handle_signal_request(Some(slot), request),
            FromWorker::Files(files) => self.new_files.extend(files),
            FromWorker::Alarm { name, message } => {
                if self.alarms.len() < MAX_ALARMS {
                    self.alarms.push((name, message));
                }
            }
            FromWorker::Closed => {
                if let Some(record) = &mut self.slots[slot].record {
                    record.closed = true;
                }
            }
            FromWorker::Retiring => {
                let deadline = now + self.plan.mercy;
                let started_well = self.started_well(slot, now);
                self.step_slot(slot, slot::Event::Leaves { deadline }, now);
                // if a worker retires right after its start, its successor starts only after its exit and the respawn
                // delay
                if started_well {
                    self.start_successor(slot, now);
                }
            }
            FromWorker::Large => self.replace_large(slot, now),
            FromWorker::Stuck { thread } => self.replace_stuck(slot, thread as usize, now),
        }
    }

    fn started_well(&self, slot: usize, now: Instant) -> bool {
        self.slots[slot].state.worker().is_some_and(|worker| {
            self.requests_of(slot) > 0 || now.duration_since(worker.since) >= slot::GOOD_START
        })
    }

    /// Handles the exit of a child of the master. Returns `false` if the child is not a known process of this
    /// generation. Keeps such an exit while a fork is pending, because the zygote may report the child as a worker
    /// later.
    pub(in crate::master) fn handle_exit(&mut self, end: End, now: Instant) -> bool {
        let pid = end.pid;
        if self.zygote.pid() == Some(pid) {
            self.handle_zygote_exit(pid, end.exit, now);
            return true;
        }
        if self.handle_mule_exit(end, now) {
            return true;
        }
        let mut workers = self.slots.iter().map(|slot| slot.state.worker());
        if let Some(slot) = workers.position(|worker| worker.is_some_and(|it| it.pid == pid)) {
            self.handle_worker_exit(slot, end, now);
            return true;
        }
        if self.is_forking() && self.unknown_exits.len() < MAX_UNKNOWN_EXITS {
            self.unknown_exits.push(end);
        }
        false
    }

    fn handle_zygote_exit(&mut self, pid: Pid, exit: Exit, now: Instant) {
        // the zygote's last messages are read first: they may report forked workers, or the reason of its exit
        for _ in 0..MAX_LAST_MESSAGES {
            let channel = self.channel.as_ref();
            if !channel.is_some_and(|channel| poll::readable(channel.as_fd())) {
                break;
            }
            self.read_zygote(now);
        }
        self.channel = None;
        let before = self.zygote;
        self.step_zygote(zygote_state::Event::Exited, now);
        self.cancel_forks(now);
        let loaded = match before {
            Zygote::Loading { .. } => false,
            Zygote::Ending {
                cause: EndCause::ChannelClosed { loaded },
                ..
            } => loaded,
            Zygote::Loaded { .. } => true,
            // the zygote has reported the reason itself, or the master has killed it
            _ => return,
        };
        if loaded {
            // the import of the next zygote takes the same ports and locks, so the workers must release them
            if !self.taken.is_empty() {
                self.release_import();
            }
            report::zygote_died(self.number, pid, exit, &self.zygote, now);
        } else {
            let oom = self.oom_kill(exit);
            let failure = zygote::died_while_loading(&self.plan, pid, exit, oom);
            self.failures
                .push_back((StartFailure::NotLoaded, Some(failure)));
        }
    }

    /// Cancels the pending forks after the zygote's exit, because the zygote can no longer report them. A worker that
    /// was forked nevertheless sees the end of its channel, and exits.
    fn cancel_forks(&mut self, now: Instant) {
        for slot in 0..self.slots.len() {
            if matches!(self.slots[slot].state, SlotState::Forking { .. }) {
                self.slots[slot].close_leash();
                self.step_slot(slot, slot::Event::NotForked, now);
                let failures = self.slots[slot].state.failures();
                self.failures
                    .push_back((StartFailure::WorkerDied { failures }, None));
            }
        }
        self.cancel_mule_forks(now);
        self.fork_watch.answered(false, now);
    }

    /// Whether the kernel's OOM killer may have caused this exit. The exit must be by SIGKILL, and the kernel must have
    /// counted an OOM kill since the last call.
    fn oom_kill(&mut self, exit: Exit) -> OomScope {
        if exit != Exit::Signal(Signal::SIGKILL as i32) {
            return OomScope::None;
        }
        let kills = OomKills::now();
        std::mem::replace(&mut self.oom_kills, kills).until(kills)
    }

    fn handle_worker_exit(&mut self, slot: usize, end: End, now: Instant) {
        // a process that the application has forked may hold the channel open and go on sending
        for _ in 0..MAX_LAST_MESSAGES {
            let leash = self.slots[slot].leash();
            if !leash.is_some_and(|leash| poll::readable(leash.as_fd())) {
                break;
            }
            self.read_worker(slot, now);
        }
        if let Some(lines) = &mut self.lines {
            // the worker may have been killed before it could wake the collector
            lines.woken(now);
        }
        let requests = self.requests_of(slot);
        let lost = self.requests_in_flight(slot);
        let before = self.slots[slot].state;
        let record = self.slots[slot].record.take();
        self.step_slot(slot, slot::Event::Exited { requests }, now);
        self.release_replaced_slots(now);
        let after = self.slots[slot].state;
        let (removal, stacks) = match record {
            Some(record) => (record.removal, record.stacks),
            None => (None, None),
        };
        let death = Death {
            number: self.slots[slot].worker_id,
            before,
            after,
            end,
            requests,
            removal,
            lost,
            oom: self.oom_kill(end.exit),
            stacks: stacks.and_then(death_report::stacks),
        };
        death_report::record(&death, now);
        let settings = &self.plan.app.serving.request_log;
        death_report::log_requests(&death, self.requests(), settings);
        if matches!(
            before,
            SlotState::Parked { .. } | SlotState::Starting { .. }
        ) {
            let failures = after.failures();
            self.failures
                .push_back((StartFailure::WorkerDied { failures }, None));
        }
    }
}
