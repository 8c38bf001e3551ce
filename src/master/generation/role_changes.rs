//! The life of a generation: it starts, takes over, is dismissed or killed.

use std::time::Instant;

use crate::ipc::ToWorker;
use crate::master::report;
use crate::master::role::GenerationRole;
use crate::master::signals::ReloadMode;
use crate::master::slot::{self, SlotState};
use crate::master::worker_ids::{Gate, IdHolder, Share};
use crate::master::zygote;
use crate::master::zygote_state;

use super::Generation;

impl Generation {
    /// When [`Generation::tick`] is due, if no descriptor becomes ready before.
    pub(in crate::master) fn deadline(&self) -> Option<Instant> {
        let can_fork = self.zygote.forks();
        let slots = self.slots.iter().map(|slot| slot.deadline(can_fork));
        let starts = self.slow_starts.iter().map(|it| Some(it.deadline()));
        slots
            .chain(starts)
            .chain([self.zygote.deadline(), self.next_check])
            .chain([can_fork.then(|| self.fork_watch.deadline()).flatten()])
            .flatten()
            .min()
    }

    /// Handles expired deadlines. `holders`: the processes of all generations that have a worker id.
    pub(in crate::master) fn tick(&mut self, holders: &[IdHolder], now: Instant) {
        self.restart_zygote(now);
        let forking = self.is_forking();
        self.step_zygote(zygote_state::Event::Tick { forking }, now);
        self.end_unresponsive_zygote(now);
        self.release_replaced_slots(now);
        self.place_wanted(now);
        for slot in 0..self.slots.len() {
            if self.zygote.forks() || !matches!(self.slots[slot].state, SlotState::Empty { .. }) {
                self.step_slot(slot, slot::Event::Tick, now);
            }
            self.begin_if_free(slot, holders, now);
        }
        if !self.is_forking() {
            self.unknown_exits = Vec::new();
        }
        self.check_workers(now);
        self.check_starts(now);
    }

    /// Kills a zygote that does not answer the request for a fork. The application is imported again, in another one.
    fn end_unresponsive_zygote(&mut self, now: Instant) {
        let is_overdue = self.fork_watch.deadline().is_some_and(|at| at <= now);
        let Some(pid) = self.zygote.pid().filter(|_| self.zygote.forks()) else {
            return;
        };
        if is_overdue {
            report::zygote_unresponsive(self.number, pid);
            self.step_zygote(zygote_state::Event::Unresponsive, now);
        }
    }

    /// Gives a parked worker its id when that is free. Reports if another process still has it.
    fn begin_if_free(&mut self, slot: usize, holders: &[IdHolder], now: Instant) {
        let timeout = self.plan.id_timeout;
        let it = &mut self.slots[slot];
        let Gate::Open { beside } = it.look_at_gate(holders, timeout, now) else {
            return;
        };
        if let (Some(old), Some(new)) = (beside, it.state.worker()) {
            report::id_is_shared(it.worker_id, old, new.pid, timeout);
        }
        self.step_slot(slot, slot::Event::Begin, now);
    }

    /// Checks requests, limits and load of the workers, and notes when that is due again.
    fn check_workers(&mut self, now: Instant) {
        self.next_check = None;
        self.check_limits(now);
        self.follow_load(now);
        if self.plan.harakiri.is_some() {
            self.check_requests(now);
            self.kill_stuck(now);
        }
    }

    /// Begins to take over the worker ids of the current generation, one after the other.
    pub(in crate::master) fn begin_take_over(&mut self) {
        self.role = GenerationRole::TakingOver;
    }

    /// Sets the worker ids that it may use.
    pub(in crate::master) fn set_share(&mut self, share: Share, now: Instant) {
        self.share = share;
        self.has_unplaced = true;
        self.check_by(now);
    }

    /// Gives up a worker id: its worker leaves after its requests, or is killed.
    pub(in crate::master) fn give_up_id(&mut self, worker_id: u32, mode: ReloadMode, now: Instant) {
        let deadline = now + self.plan.mercy;
        let event = match mode {
            ReloadMode::Brutal => slot::Event::Kill,
            ReloadMode::Graceful => slot::Event::Dismiss {
                message: ToWorker::Retire,
                deadline,
            },
        };
        for slot in 0..self.slots.len() {
            if self.slots[slot].worker_id == worker_id {
                self.step_slot(slot, event, now);
            }
        }
    }

    /// Ends a generation that cannot take over; its workers finish the requests that they have begun.
    pub(in crate::master) fn abandon(&mut self, now: Instant) {
        if self.has_served {
            self.dismiss(ToWorker::Retire, now);
        } else {
            self.kill(now);
        }
    }

    /// The generation serves from now on: every held worker accepts connections.
    pub(in crate::master) fn take_over(&mut self, now: Instant) {
        self.role = GenerationRole::Current;
        self.share = Share::All;
        for slot in 0..self.slots.len() {
            self.step_slot(slot, slot::Event::TakeOver, now);
        }
        self.check_workers(now);
    }

    /// Ends the zygote at once, and each worker when it has finished its requests or `worker-reload-mercy` is over.
    pub(in crate::master) fn dismiss(&mut self, message: ToWorker, now: Instant) {
        let deadline = now + self.plan.mercy;
        self.role = GenerationRole::Old;
        self.close_zygote(deadline, now);
        for slot in 0..self.slots.len() {
            self.step_slot(slot, slot::Event::Dismiss { message, deadline }, now);
        }
    }

    /// Kills every process.
    pub(in crate::master) fn kill(&mut self, now: Instant) {
        self.role = GenerationRole::Old;
        self.close_zygote(now + zygote::FORK_TIMEOUT, now);
        for slot in 0..self.slots.len() {
            self.step_slot(slot, slot::Event::Kill, now);
        }
    }

    fn close_zygote(&mut self, deadline: Instant, now: Instant) {
        // no zygote is spawned any more: unless another generation has them, the sockets close and clients are refused
        self.plan.sockets = Vec::new();
        let forking = self.is_forking();
        self.step_zygote(zygote_state::Event::Close { forking, deadline }, now);
    }
}
