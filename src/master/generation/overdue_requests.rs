//! Requests that exceed `harakiri`: the worker ends the request and interrupts its thread. If the thread does not
//! return, the master replaces the worker.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::ipc::ToWorker;
use crate::master::harakiri::{self, DeadlineAction, RequestDeadline, Timeouts};
use crate::master::report::{self, RequestInFlight};
use crate::master::slot::{self, SlotState, WorkerProcess};
use crate::master::worker_slot::RemovalReason;
use crate::shared::scoreboard::ThreadRow;
use crate::sys::clock::monotonic_micros;

use super::Generation;
use super::processes::row_of;

/// Time between two checks whether a stuck worker can still finish requests.
const STUCK_CHECK: Duration = Duration::from_millis(50);

/// The limit of requests without `harakiri`. A request can have a deadline that the application has set.
const NO_LIMIT: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Time between two checks of an overdue request that `harakiri-queue-threshold` tolerates, microseconds.
const QUEUE_CHECK: u64 = 1_000_000;

impl Generation {
    /// Checks each request in flight against `harakiri`, and schedules the next check.
    pub(super) fn check_requests(&mut self, now: Instant) {
        let limit = self.plan.harakiri.unwrap_or(NO_LIMIT);
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let timeouts = Timeouts {
            limit: micros(limit),
            grace: micros(self.plan.harakiri_grace),
        };
        let clock = monotonic_micros();
        let mut next = clock.saturating_add(timeouts.limit);
        for slot in 0..self.slots.len() {
            if !matches!(
                self.slots[slot].state,
                SlotState::Serving { .. } | SlotState::Leaving { .. }
            ) {
                continue;
            }
            for thread in 0..self.plan.app.worker.threads as usize {
                next = next.min(self.check_request(slot, thread, timeouts, clock, now));
            }
        }
        self.check_by(now + Duration::from_micros(next.saturating_sub(clock)));
    }

    /// Checks the request of one thread against `harakiri`, and performs the action that follows. Returns the time of
    /// the next check. `clock` is the current time. Times are microseconds of the monotonic clock.
    fn check_request(
        &mut self,
        slot: usize,
        thread: usize,
        timeouts: Timeouts,
        clock: u64,
        now: Instant,
    ) -> u64 {
        let busy_since = self.busy_since(slot, thread);
        let record = self.slots[slot].record.as_ref();
        let Some(before) = record.map(|record| record.deadlines[thread]) else {
            return u64::MAX;
        };
        let own = self.own_limit(slot, thread, busy_since);
        let timeouts = Timeouts {
            limit: timeouts.limit.min(own.unwrap_or(u64::MAX)),
            ..timeouts
        };
        let (after, action) = harakiri::step(before, busy_since, timeouts, clock);
        if action == DeadlineAction::Expire && own.is_none() && self.tolerates_overdue() {
            return clock.saturating_add(QUEUE_CHECK);
        }
        if let Some(record) = &mut self.slots[slot].record {
            record.deadlines[thread] = after;
        }
        if before != RequestDeadline::InTime && after == RequestDeadline::InTime {
            self.clear_stacks(slot);
        }
        match action {
            DeadlineAction::Nothing => {}
            DeadlineAction::Expire => {
                let limit = Duration::from_micros(timeouts.limit);
                self.expire(slot, thread, busy_since, limit);
            }
            DeadlineAction::ReplaceWorker => self.replace_overdue(slot, thread, now),
        }
        harakiri::due(after, busy_since, timeouts, clock)
    }

    /// Whether overdue requests may continue: the number of waiting connections is at most `harakiri-queue-threshold`.
    fn tolerates_overdue(&mut self) -> bool {
        let threshold = self.plan.harakiri_queue_threshold;
        threshold.is_some_and(|threshold| self.waiting_connections() <= threshold)
    }

    fn busy_since(&self, slot: usize, thread: usize) -> u64 {
        self.scoreboard
            .thread(row_of(slot), thread as u32)
            .map_or(0, |row| row.busy_since.load(Relaxed))
    }

    /// The time limit that the application has set for the request of a thread, in microseconds from the start of the
    /// request; `None` if the application has set no limit.
    fn own_limit(&self, slot: usize, thread: usize, busy_since: u64) -> Option<u64> {
        let row = self.scoreboard.thread(row_of(slot), thread as u32)?;
        let deadline = row.deadline.load(Relaxed);
        (deadline != 0).then(|| deadline.saturating_sub(busy_since))
    }

    fn expire(&mut self, slot: usize, thread: usize, since: u64, limit: Duration) {
        if let Some((worker, request)) = self.worker_and_request(slot, thread) {
            report::expired(self.slots[slot].worker_id, &worker, &request, limit);
        }
        self.count_harakiri(slot);
        let message = ToWorker::Expire {
            thread: thread as u32,
            since,
        };
        self.send(slot, message);
    }

    fn worker_and_request(
        &self,
        slot: usize,
        thread: usize,
    ) -> Option<(WorkerProcess, RequestInFlight)> {
        let worker = *self.slots[slot].state.worker()?;
        Some((worker, self.request(slot, thread)?))
    }

    /// Empties the file with the stacks of the worker's threads if no request is overdue. Old stacks would not explain
    /// a later exit of the worker.
    fn clear_stacks(&self, slot: usize) {
        let Some(record) = &self.slots[slot].record else {
            return;
        };
        let all_in_time = record
            .deadlines
            .iter()
            .all(|it| *it == RequestDeadline::InTime);
        if let Some(stacks) = record.stacks.as_ref().filter(|_| all_in_time) {
            // on an error the old stacks stay in the file, but their text contains the time at which they were written
            let _ = stacks.set_len(0);
        }
    }

    /// Replaces a worker that has reported a thread it cannot interrupt, because native code holds the interpreter. The
    /// worker accepts no more connections. It is killed when all its requests have exceeded their own deadlines, at the
    /// latest after `worker-reload-mercy`.
    pub(super) fn replace_stuck(&mut self, slot: usize, thread: usize, now: Instant) {
        let deadline = now + self.plan.mercy;
        if !self.mark_stuck(slot) {
            return;
        }
        if let Some((worker, request)) = self.worker_and_request(slot, thread) {
            report::stuck(self.slots[slot].worker_id, &worker, &request);
        }
        self.step_slot(slot, slot::Event::Leaves { deadline }, now);
        self.start_successor(slot, now);
    }

    /// Replaces a worker in which an interrupted thread has not returned within the grace time. The worker accepts no
    /// more connections, and its successor is requested at once.
    fn replace_overdue(&mut self, slot: usize, thread: usize, now: Instant) {
        let deadline = now + self.plan.mercy;
        if !self.mark_stuck(slot) {
            return;
        }
        if let Some((worker, request)) = self.worker_and_request(slot, thread) {
            report::not_returned(self.slots[slot].worker_id, &worker, &request);
        }
        self.step_slot(slot, slot::Event::Retire { deadline }, now);
        self.start_successor(slot, now);
    }

    /// Marks a worker for removal because of `harakiri`. Returns `false` if the worker has this mark already.
    fn mark_stuck(&mut self, slot: usize) -> bool {
        if matches!(
            self.slots[slot].removal(),
            Some(RemovalReason::Harakiri { .. })
        ) {
            return false;
        }
        let reason = RemovalReason::Harakiri {
            fully_stuck_since: None,
        };
        self.slots[slot].remove_for(reason);
        true
    }

    /// Kills each stuck worker in which no request can finish any more. A second check must confirm this.
    pub(super) fn kill_stuck(&mut self, now: Instant) {
        for slot in 0..self.slots.len() {
            let Some(RemovalReason::Harakiri { fully_stuck_since }) = self.slots[slot].removal()
            else {
                continue;
            };
            if !matches!(self.slots[slot].state, SlotState::Leaving { .. }) {
                continue;
            }
            let fully_stuck = self.is_fully_stuck(slot);
            // a response may be on its way from a thread to the I/O thread, so a second check must confirm the state
            if let Some(since) = fully_stuck_since
                && fully_stuck
                && now >= since + STUCK_CHECK
            {
                self.step_slot(slot, slot::Event::KillWorker, now);
                continue;
            }
            self.slots[slot].remove_for(RemovalReason::Harakiri {
                fully_stuck_since: fully_stuck.then(|| fully_stuck_since.unwrap_or(now)),
            });
            self.check_by(now + STUCK_CHECK);
        }
    }

    /// Whether each busy thread of a worker is stuck, and the worker has no response left to send.
    fn is_fully_stuck(&self, slot: usize) -> bool {
        let Some(record) = &self.slots[slot].record else {
            return false;
        };
        let (mut stuck, mut others) = (0, 0);
        for (thread, deadline) in record.deadlines.iter().enumerate() {
            if self.busy_since(slot, thread) == 0 {
                continue;
            }
            match deadline {
                RequestDeadline::Stuck { .. } => stuck += 1,
                RequestDeadline::InTime | RequestDeadline::Expired { .. } => others += 1,
            }
        }
        let row = self.scoreboard.worker(row_of(slot));
        let pending = row.map_or(0, |row| row.pending_connections.load(Relaxed));
        stuck > 0 && others == 0 && pending == 0
    }

    /// Whether the line of the thread's current request is in the worker's ring. The request has ended then.
    fn is_logged(&self, slot: usize, thread: &ThreadRow) -> bool {
        let end = self.lines.as_ref().zip(thread.line_end());
        end.is_some_and(|(lines, end)| lines.contains(row_of(slot), end))
    }

    /// The request in flight of one thread; `None` if the thread is idle.
    fn request(&self, slot: usize, thread: usize) -> Option<RequestInFlight> {
        let row = self.scoreboard.thread(row_of(slot), thread as u32)?;
        let deadline = self.slots[slot].record.as_ref()?.deadlines.get(thread);
        let since = row.busy_since.load(Relaxed);
        (since != 0 && !self.is_logged(slot, row)).then(|| RequestInFlight {
            thread: thread as u32,
            note: row.read_note(),
            vars: row.vars.load(Relaxed),
            block: row.block.load(Relaxed),
            age: Duration::from_micros(monotonic_micros().saturating_sub(since)),
            expired: deadline.is_some_and(|it| *it != RequestDeadline::InTime),
        })
    }

    /// The requests in flight of the worker in a slot, at most one for each thread.
    pub(super) fn requests_in_flight(&self, slot: usize) -> Vec<RequestInFlight> {
        (0..self.plan.app.worker.threads as usize)
            .filter_map(|thread| self.request(slot, thread))
            .collect()
    }
}
