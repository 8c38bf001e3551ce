//! The life cycle of a generation: it starts, takes over, and is dismissed or killed.

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
    /// The time at which [`Generation::tick`] is due if no descriptor becomes ready earlier.
    pub(in crate::master) fn deadline(&self) -> Option<Instant> {
        let can_fork = self.zygote.forks();
        let slots = self.slots.iter().map(|slot| slot.deadline(can_fork));
        let starts = self.slow_starts.iter().map(|it| Some(it.deadline()));
        slots
            .chain(starts)
            .chain([self.zygote.deadline(), self.next_check])
            .chain([self.mules.deadline(can_fork), self.mules_due()])
            .chain([can_fork.then(|| self.fork_watch.deadline()).flatten()])
            .flatten()
            .min()
    }

    /// Handles the expired deadlines of the zygote, the slots and the checks. `holders` are all processes with a worker
    /// id, in all generations. A parked worker starts when none of them has its id.
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

    /// Kills a zygote that has not answered a fork request in time. Another zygote then imports the application again.
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

    /// Gives a parked worker its worker id when the id is free. Logs a warning if a process that leaves still has the
    /// id after `worker-id-timeout`.
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
        self.count_spawn(slot);
    }

    /// Checks requests, limits and load of the workers, and schedules the next check.
    fn check_workers(&mut self, now: Instant) {
        self.next_check = None;
        self.check_limits(now);
        self.follow_load(now);
        if self.plan.harakiri.is_some() || self.has_own_deadlines {
            self.check_requests(now);
            self.kill_stuck(now);
        }
    }

    /// Starts to take over the worker ids of the current generation, one after the other.
    pub(in crate::master) fn begin_take_over(&mut self) {
        self.role = GenerationRole::TakingOver;
    }

    /// Sets the worker ids that this generation may use. The next tick requests the workers that are missing.
    pub(in crate::master) fn set_share(&mut self, share: Share, now: Instant) {
        self.share = share;
        self.has_unplaced = true;
        self.check_by(now);
    }

    /// Gives up a worker id to another generation. The worker with this id finishes its requests and exits; in a brutal
    /// reload it is killed.
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

    /// Ends a generation that cannot take over. If one of its workers has served, all its workers finish their
    /// requests; otherwise all its processes are killed.
    pub(in crate::master) fn abandon(&mut self, now: Instant) {
        if self.has_served {
            self.dismiss(ToWorker::Retire, now);
        } else {
            self.kill(now);
        }
    }

    /// Makes this generation the current generation. Every held worker starts to accept connections.
    pub(in crate::master) fn take_over(&mut self, now: Instant) {
        self.role = GenerationRole::Current;
        self.share = Share::All;
        for slot in 0..self.slots.len() {
            self.step_slot(slot, slot::Event::TakeOver, now);
        }
        self.check_workers(now);
    }

    /// Ends the generation. Sends `message` to each worker, which exits after its requests and is killed after
    /// `worker-reload-mercy`. Ends the zygote at once, or after a pending fork.
    pub(in crate::master) fn dismiss(&mut self, message: ToWorker, now: Instant) {
        let deadline = now + self.plan.mercy;
        self.role = GenerationRole::Old;
        self.dismiss_mules(message, now);
        self.close_zygote(deadline, now);
        for slot in 0..self.slots.len() {
            self.step_slot(slot, slot::Event::Dismiss { message, deadline }, now);
        }
    }

    /// Kills every process of the generation. The zygote has [`zygote::FORK_TIMEOUT`] to report a pending fork.
    pub(in crate::master) fn kill(&mut self, now: Instant) {
        self.role = GenerationRole::Old;
        self.kill_mules(now);
        self.close_zygote(now + zygote::FORK_TIMEOUT, now);
        for slot in 0..self.slots.len() {
            self.step_slot(slot, slot::Event::Kill, now);
        }
    }

    fn close_zygote(&mut self, deadline: Instant, now: Instant) {
        // a killed generation forks no more workers and needs no sockets; if no other generation uses them, they close
        // and clients are refused
        self.plan.sockets = Vec::new();
        let forking = self.is_forking();
        self.step_zygote(zygote_state::Event::Close { forking, deadline }, now);
    }
}
