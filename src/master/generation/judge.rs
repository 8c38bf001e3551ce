//! The workers are looked at: requests that run for too long, and what else ends a worker's life.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::ipc::ToWorker;
use crate::master::deadline::{self, Verdict, Watch};
use crate::master::report::{self, RequestInFlight};
use crate::master::role::GenerationRole;
use crate::master::slot::{self, SlotState};
use crate::sys::clock::monotonic_micros;

use super::{Generation, RemovalReason};

/// How often a condemned worker is asked whether its last good thread has finished.
const DOOMED_LOOK: Duration = Duration::from_millis(50);

impl Generation {
    /// Judges all workers, and notes when it has to be done again.
    pub(super) fn look(&mut self, now: Instant) {
        self.next_look = None;
        self.judge_limits(now);
        self.follow_load(now);
        if self.plan.harakiri.is_some() {
            self.judge_requests(now);
            self.end_doomed(now);
        }
    }

    pub(super) fn look_by(&mut self, when: Instant) {
        self.next_look = Some(self.next_look.map_or(when, |known| known.min(when)));
    }

    /// A place whose worker another one has taken over is given up.
    pub(super) fn settle_slots(&mut self, now: Instant) {
        for slot in 0..self.slots.len() {
            if matches!(self.slots[slot].state, SlotState::Empty { .. }) && self.is_covered(slot) {
                let release = slot::Event::Dismiss {
                    word: ToWorker::Retire,
                    deadline: now,
                };
                self.step_slot(slot, release, now);
            }
        }
    }

    /// Whether another place has, or will have, the worker of this number.
    pub(super) fn is_covered(&self, slot: usize) -> bool {
        let number = self.slots[slot].number;
        self.slots
            .iter()
            .enumerate()
            .any(|(other, it)| other != slot && it.number == number && it.state.covers())
    }

    /// A worker is wanted in a free place, beside the one in `slot`; where there is none it will follow it.
    pub(super) fn want_successor(&mut self, slot: usize, now: Instant) {
        let number = self.slots[slot].number;
        if self.role == GenerationRole::Old || number > self.wanted || self.is_covered(slot) {
            return;
        }
        self.place(number, now);
    }

    /// A free place, if there is one, is to have the worker of this number.
    pub(super) fn place(&mut self, number: u32, now: Instant) -> bool {
        let free = self
            .slots
            .iter()
            .position(|it| it.number == number && it.state == SlotState::Vacant);
        let Some(free) = free else { return false };
        self.step_slot(free, slot::Event::Want, now);
        if self.zygote.forks() {
            self.step_slot(free, slot::Event::Tick, now);
        }
        true
    }

    /// Deadlines of requests.
    fn judge_requests(&mut self, now: Instant) {
        let Some(limit) = self.plan.harakiri else {
            return;
        };
        let limit = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        let clock = monotonic_micros();
        let mut next = clock.saturating_add(limit);
        for slot in 0..self.slots.len() {
            if !matches!(
                self.slots[slot].state,
                SlotState::Serving { .. } | SlotState::Leaving { .. }
            ) {
                continue;
            }
            for thread in 0..self.slots[slot].watches.len() {
                let busy_since = self.busy_since(slot, thread);
                let (watch, verdict) =
                    deadline::judge(self.slots[slot].watches[thread], busy_since, limit, clock);
                let before = std::mem::replace(&mut self.slots[slot].watches[thread], watch);
                if before != Watch::InTime && watch == Watch::InTime {
                    self.forget_stacks(slot);
                }
                next = next.min(deadline::due(watch, busy_since, limit, clock));
                match verdict {
                    Verdict::Nothing => {}
                    Verdict::Expire => self.expire(slot, thread, busy_since),
                    Verdict::Condemn => self.condemn(slot, thread, now),
                }
            }
        }
        self.look_by(now + Duration::from_micros(next.saturating_sub(clock)));
    }

    fn busy_since(&self, slot: usize, thread: usize) -> u64 {
        self.scoreboard
            .thread(slot as u32 + 1, thread as u32)
            .map_or(0, |row| row.busy_since.load(Relaxed))
    }

    fn expire(&mut self, slot: usize, thread: usize, since: u64) {
        if let (Some(worker), Some(lost)) =
            (self.slots[slot].state.worker(), self.request(slot, thread))
        {
            let limit = self.plan.harakiri.unwrap_or_default();
            report::expired(self.slots[slot].number, worker, &lost, limit);
        }
        let word = ToWorker::Expire {
            thread: thread as u32,
            since,
        };
        self.tell(slot, word);
    }

    /// A thread has come back: the stacks that were taken say nothing of a later death.
    fn forget_stacks(&self, slot: usize) {
        let expired = |watch: &Watch| *watch != Watch::InTime;
        if let Some(stacks) = &self.slots[slot].stacks
            && !self.slots[slot].watches.iter().any(expired)
        {
            // what cannot be emptied is old, which its text tells
            let _ = stacks.set_len(0);
        }
    }

    /// A thread cannot be reached, because one of them keeps the interpreter in native code: another worker is forked at
    /// once. This one accepts no more and has until its requests are over their own deadlines.
    pub(super) fn condemn_stuck(&mut self, slot: usize, thread: usize, now: Instant) {
        let deadline = now + self.plan.mercy;
        if self.slots[slot].removal.replace(RemovalReason::Harakiri)
            == Some(RemovalReason::Harakiri)
        {
            return;
        }
        if let (Some(worker), Some(lost)) =
            (self.slots[slot].state.worker(), self.request(slot, thread))
        {
            report::stuck(self.slots[slot].number, worker, &lost);
        }
        self.step_slot(slot, slot::Event::Leaves { deadline }, now);
        self.want_successor(slot, now);
    }

    /// A thread has not come back: the worker takes no more requests, and another one is forked at once.
    fn condemn(&mut self, slot: usize, thread: usize, now: Instant) {
        let deadline = now + self.plan.mercy;
        if self.slots[slot].removal.replace(RemovalReason::Harakiri)
            == Some(RemovalReason::Harakiri)
        {
            return;
        }
        if let (Some(worker), Some(lost)) =
            (self.slots[slot].state.worker(), self.request(slot, thread))
        {
            report::condemned(self.slots[slot].number, worker, &lost);
        }
        self.step_slot(slot, slot::Event::Retire { deadline }, now);
        self.want_successor(slot, now);
    }

    /// Condemned workers are killed when none of their requests can end well any more.
    fn end_doomed(&mut self, now: Instant) {
        for slot in 0..self.slots.len() {
            let waits = self.slots[slot].removal == Some(RemovalReason::Harakiri)
                && matches!(self.slots[slot].state, SlotState::Leaving { .. });
            if !waits {
                continue;
            }
            let busy = |thread: &usize| self.busy_since(slot, *thread) != 0;
            let (mut stuck, mut hopeful) = (0, 0);
            for thread in (0..self.slots[slot].watches.len()).filter(busy) {
                match self.slots[slot].watches[thread] {
                    Watch::Hopeless { .. } => stuck += 1,
                    _ => hopeful += 1,
                }
            }
            let row = self.scoreboard.worker(slot as u32 + 1);
            let parked = row.map_or(0, |row| row.parked.load(Relaxed));
            let lost = stuck > 0 && hopeful == 0 && parked == 0;
            // twice, because an answer may be on its way from a thread to the porter
            let before = self.slots[slot].hopeless.take();
            match before.filter(|_| lost) {
                Some(since) if now >= since + DOOMED_LOOK => {
                    self.step_slot(slot, slot::Event::Condemn, now);
                    continue;
                }
                since => self.slots[slot].hopeless = lost.then(|| since.unwrap_or(now)),
            }
            self.look_by(now + DOOMED_LOOK);
        }
    }

    /// The request that a thread works on.
    pub(super) fn request(&self, slot: usize, thread: usize) -> Option<RequestInFlight> {
        let row = self.scoreboard.thread(slot as u32 + 1, thread as u32)?;
        let since = row.busy_since.load(Relaxed);
        (since != 0).then(|| RequestInFlight {
            thread: thread as u32,
            note: row.read_note(),
            vars: row.vars.load(Relaxed),
            block: row.block.load(Relaxed),
            age: Duration::from_micros(monotonic_micros().saturating_sub(since)),
            expired: matches!(
                self.slots[slot].watches.get(thread),
                Some(Watch::Expired { .. } | Watch::Hopeless { .. })
            ),
        })
    }

    /// The requests that the worker in this slot works on.
    pub(super) fn requests_in_flight(&self, slot: usize) -> Vec<RequestInFlight> {
        (0..self.slots[slot].watches.len())
            .filter_map(|thread| self.request(slot, thread))
            .collect()
    }
}
