//! What a generation does with its mules: forks, stops, checks and replaces them.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::ipc::control as messages;
use crate::ipc::{self, FromWorker, ToWorker, ToZygote};
use crate::log;
use crate::master::report;
use crate::master::role::GenerationRole;
use crate::master::slot::{self, SlotState};
use crate::sys::clock::monotonic_micros;
use crate::sys::process::{self, End};
use crate::sys::{deferred_close, memory, packet};

use super::Generation;
use super::mules::MuleSlot;

/// Maximum number of descriptors in one message.
const DESCRIPTORS: usize = 100;

/// Interval between two checks of `mule-harakiri`.
const HARAKIRI_CHECK: Duration = Duration::from_millis(500);

impl Generation {
    /// The scoreboard row of a mule. The rows of mules follow the rows of worker slots.
    pub(super) fn mule_row(&self, mule: usize) -> u32 {
        (self.slots.len() + mule) as u32 + 1
    }

    /// The mule with a scoreboard row.
    pub(super) fn mule_of(&self, row: u32) -> Option<usize> {
        let mule = (row as usize).checked_sub(self.slots.len() + 1)?;
        (mule < self.mules.slots.len()).then_some(mule)
    }

    /// Sends the queues to a new zygote. The first call creates the queues.
    pub(super) fn send_queues(&mut self, channel: BorrowedFd<'_>) -> io::Result<()> {
        let app = &self.plan.app;
        if app.mules.is_empty() {
            return Ok(());
        }
        let count = app.mules.len() + 1 + app.farms.len();
        while self.mules.queues.len() < count {
            self.mules.queues.push(packet::pair()?);
        }
        let queues = self.mules.queues.iter();
        let fds: Vec<_> = queues
            .flat_map(|(reader, writer)| [reader.as_fd(), writer.as_fd()])
            .collect();
        for part in fds.chunks(DESCRIPTORS) {
            ipc::send_now(channel, &ToZygote::Queues, part)?;
        }
        Ok(())
    }

    /// The time from which the mules can be started; `None` if they are started, or if the generation does not serve.
    pub(super) fn mules_due(&self) -> Option<Instant> {
        let waits = !self.mules.wanted && !self.mules.slots.is_empty();
        (waits && self.role == GenerationRole::Current).then_some(self.begun)
    }

    /// The ids of the mules whose process has its id.
    pub(in crate::master) fn mule_ids(&self) -> impl Iterator<Item = u32> {
        let slots = (1..).zip(&self.mules.slots);
        slots.filter_map(|(id, it)| match it.state {
            SlotState::Parked { .. } => None,
            state => state.worker().map(|_| id),
        })
    }

    /// Handles the expired deadlines of the mules. `taken` are the ids that mules of other generations have.
    pub(in crate::master) fn tick_mules(&mut self, taken: &BTreeSet<u32>, now: Instant) {
        if self.role == GenerationRole::Current && !self.mules.wanted {
            self.mules.wanted = true;
            for mule in 0..self.mules.slots.len() {
                self.step_mule(mule, slot::Event::Want, now);
            }
        }
        for mule in 0..self.mules.slots.len() {
            let state = self.mules.slots[mule].state;
            if self.zygote.forks() || !matches!(state, SlotState::Empty { .. }) {
                self.step_mule(mule, slot::Event::Tick, now);
            }
            let is_parked = matches!(self.mules.slots[mule].state, SlotState::Parked { .. });
            if is_parked && !taken.contains(&(mule as u32 + 1)) {
                self.step_mule(mule, slot::Event::Begin, now);
            }
        }
        self.check_mules(now);
    }

    /// Kills each mule that has handled one message or signal for longer than `mule-harakiri`.
    fn check_mules(&mut self, now: Instant) {
        let Some(limit) = self.plan.mules.harakiri else {
            return;
        };
        let clock = monotonic_micros();
        for mule in 0..self.mules.slots.len() {
            let row = self.mule_row(mule);
            let thread = self.scoreboard.thread(row, 0);
            let since = thread.map_or(0, |row| row.busy_since.load(Relaxed));
            let age = Duration::from_micros(clock.saturating_sub(since));
            let is_serving = matches!(self.mules.slots[mule].state, SlotState::Serving { .. });
            if since != 0 && age >= limit && is_serving {
                let note = thread.map(|row| row.read_note()).unwrap_or_default();
                tracing::error!(
                    "mule {}: killed after {:.1} s in {}(mule-harakiri = {})",
                    mule + 1,
                    age.as_secs_f64(),
                    log::escape(&note),
                    limit.as_secs()
                );
                self.step_mule(mule, slot::Event::KillWorker, now);
            }
        }
        self.mules.next_check = (!self.mules.is_gone()).then_some(now + HARAKIRI_CHECK);
    }

    /// Applies an event to a mule and performs the action that follows.
    pub(super) fn step_mule(&mut self, mule: usize, event: slot::Event, now: Instant) {
        let (state, action) = slot::step(self.mules.slots[mule].state, event, now);
        self.mules.slots[mule].state = state;
        match action {
            slot::Action::Nothing => {}
            slot::Action::Fork => match self.fork_mule(mule) {
                Ok(()) => self.fork_watch.asked(now),
                Err(error) => self.mule_not_forked(mule, &error, now),
            },
            slot::Action::Send(message) => self.send_to_mule(mule, message),
            slot::Action::Kill => self.kill_mule(mule),
            slot::Action::KillOverdue => {
                let mercy = self.plan.mules.mercy.as_secs();
                tracing::warn!(
                    "mule {}: killed: it did not stop within mule-reload-mercy ({mercy} s)",
                    mule + 1
                );
                self.kill_mule(mule);
            }
        }
    }

    fn kill_mule(&self, mule: usize) {
        if let Some(worker) = self.mules.slots[mule].state.worker()
            && let Err(error) = process::kill_hard(worker.pid)
        {
            tracing::error!(
                "mule {} (pid {}) cannot be killed: {error}",
                mule + 1,
                worker.pid
            );
        }
    }

    fn fork_mule(&mut self, mule: usize) -> io::Result<()> {
        let row = self.mule_row(mule);
        self.scoreboard.reset_worker(row);
        let (ours, theirs) = packet::pair()?;
        self.mules.slots[mule].leash = Some(ours);
        let channel = self.channel.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        let mule_id = mule as u32 + 1;
        let request = ToZygote::ForkMule { mule_id, row };
        ipc::send_now(channel.as_fd(), &request, &[theirs.as_fd()])
    }

    /// Handles the failed fork of a mule.
    pub(super) fn mule_not_forked(&mut self, mule: usize, error: &io::Error, now: Instant) {
        self.mules.slots[mule].leash = None;
        self.step_mule(mule, slot::Event::NotForked, now);
        let next = report::next_fork(&self.mules.slots[mule].state, now);
        tracing::error!("mule {} cannot be forked: {error}{next}", mule + 1);
    }

    /// Cancels the pending forks after the zygote's exit.
    pub(super) fn cancel_mule_forks(&mut self, now: Instant) {
        for mule in 0..self.mules.slots.len() {
            if matches!(self.mules.slots[mule].state, SlotState::Forking { .. }) {
                self.mules.slots[mule].leash = None;
                self.step_mule(mule, slot::Event::NotForked, now);
            }
        }
    }

    /// Sends a message to a mule, without waiting. Without an open channel the message is dropped.
    pub(super) fn send_to_mule(&self, mule: usize, message: ToWorker) {
        if let Some(leash) = &self.mules.slots[mule].leash {
            // an error means that the mule has exited or does not read its messages; a mule that does not exit in time
            // is killed
            let _ = ipc::send_now(leash.as_fd(), &message, &[]);
        }
    }

    /// Reads and handles one message of a mule.
    pub(super) fn read_mule(&mut self, mule: usize, now: Instant) {
        let Some(leash) = &self.mules.slots[mule].leash else {
            return;
        };
        match ipc::receive::<FromWorker>(leash.as_fd()) {
            Ok(Some((message, fds))) => {
                deferred_close::close(fds);
                match message {
                    FromWorker::Ready => {
                        self.step_mule(mule, slot::Event::Ready { hold: false }, now);
                    }
                    FromWorker::Signal(request) => self.handle_mule_request(mule, request),
                    FromWorker::Failed(failure) => {
                        tracing::error!("mule {} cannot load the application", mule + 1);
                        report::not_loaded(&failure, "", true);
                    }
                    _ => {}
                }
            }
            Ok(None) | Err(_) => self.mules.slots[mule].leash = None,
        }
    }

    /// Handles the exit of a child. Returns false if the child is no mule of this generation.
    pub(super) fn handle_mule_exit(&mut self, end: End, now: Instant) -> bool {
        let mut slots = self.mules.slots.iter();
        let is_it = |it: &MuleSlot| it.state.worker().is_some_and(|it| it.pid == end.pid);
        let Some(mule) = slots.position(is_it) else {
            return false;
        };
        let before = self.mules.slots[mule].state;
        self.mules.slots[mule].leash = None;
        let handled = self.signals_of_row(self.mule_row(mule));
        self.step_mule(mule, slot::Event::Exited { requests: handled }, now);
        let next = report::next_fork(&self.mules.slots[mule].state, now);
        let (id, pid, exit) = (mule + 1, end.pid, end.exit);
        match before {
            SlotState::Leaving { .. } | SlotState::Killed { .. } => {
                tracing::info!("mule {id} (pid {pid}): {exit}{next}");
            }
            _ => tracing::warn!("mule {id} (pid {pid}): {exit}{next}"),
        }
        true
    }

    /// Ends the mules. Each mule stops after its current message, and is killed after `mule-reload-mercy`.
    pub(super) fn dismiss_mules(&mut self, message: ToWorker, now: Instant) {
        let deadline = now + self.plan.mules.mercy;
        for mule in 0..self.mules.slots.len() {
            self.step_mule(mule, slot::Event::Dismiss { message, deadline }, now);
        }
    }

    /// Kills the mules.
    pub(super) fn kill_mules(&mut self, now: Instant) {
        for mule in 0..self.mules.slots.len() {
            self.step_mule(mule, slot::Event::Kill, now);
        }
    }

    /// Replaces the mules. Each mule stops after its current message, and another mule with its id follows.
    pub(in crate::master) fn reload_mules(&mut self, now: Instant) {
        let deadline = now + self.plan.mules.mercy;
        for mule in 0..self.mules.slots.len() {
            self.step_mule(mule, slot::Event::Retire { deadline }, now);
        }
    }

    /// The rows of the mules that serve, with their ids.
    pub(super) fn serving_mules(&self) -> impl Iterator<Item = (u32, u32)> {
        let slots = self.mules.slots.iter().enumerate();
        slots
            .filter(|(_, it)| matches!(it.state, SlotState::Serving { .. }))
            .map(|(mule, _)| (mule as u32 + 1, self.mule_row(mule)))
    }

    /// The mules, as `ruwsgi status` shows them.
    pub(super) fn mule_status(&self, now: Instant) -> Vec<messages::Mule> {
        let slots = self.mules.slots.iter().enumerate();
        let used = slots.filter(|(_, it)| it.state != SlotState::Vacant);
        used.map(|(mule, it)| {
            let worker = it.state.worker();
            messages::Mule {
                id: mule as u32 + 1,
                pid: worker.map(|worker| worker.pid.get()),
                state: report::slot_state_name(&it.state).to_owned(),
                handled: self.signals_of_row(self.mule_row(mule)),
                age: worker.map(|worker| now.duration_since(worker.since).as_secs_f64()),
                memory_kib: worker.and_then(|it| memory::proportional_kib(it.pid.get())),
            }
        })
        .collect()
    }
}
