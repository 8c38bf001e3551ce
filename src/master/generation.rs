//! The processes of one generation: its zygote, its workers, and what they are heard and told.
//!
//! The decisions are `slot.rs`'s and `generation.rs`'s; here they are performed.

mod hear;
mod judge;
mod perform;
mod recycle;
mod scale;
mod tell;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Instant, SystemTime};

use crate::ipc::{LoadFailure, ToWorker};
use crate::shared::scoreboard::Scoreboard;
use crate::sys::oom::Kills;
use crate::sys::process::End;

use super::deadline::Watch;
use super::limits::Reason;
use super::plan::Plan;
use super::role::{GenerationRole, StartFailure};
use super::slot::{self, SlotState};
use super::zygote;
use super::zygote_state::{self, Zygote};

use scale::Load;

/// Children of the application that are remembered while a fork is under way.
const MOST_STRAYS: usize = 256;

/// One generation's processes.
pub(super) struct Generation {
    /// 1 for the first generation of the instance.
    pub(super) number: u32,
    pub(super) role: GenerationRole,
    pub(super) plan: Plan,
    pub(super) begun: Instant,
    pub(super) zygote: Zygote,
    channel: Option<OwnedFd>,
    slots: Vec<WorkerSlot>,
    scoreboard: Scoreboard,
    /// Workers that are wanted: those with the numbers 1 to this.
    wanted: u32,
    /// Some of them have no place yet.
    unplaced: bool,
    /// What their number has followed until now.
    load: Load,
    /// Children that ended and were nobody's, while a fork was under way whose worker was not known yet.
    strays: Vec<End>,
    /// How often the kernel had killed for want of memory when it was asked last.
    oom: Kills,
    /// A worker was told to serve.
    served: bool,
    /// The zygote has said why it goes.
    failed: bool,
    /// When the workers are to be looked at again.
    next_look: Option<Instant>,
    failures: VecDeque<(StartFailure, Option<LoadFailure>)>,
    /// Files of the application that are to be watched, and that nobody has asked for yet.
    files: Vec<String>,
    /// The same moment as `begun`, by the clock of files.
    begun_at: SystemTime,
}

/// A worker's place, and the master's end of its leash. Its index is one less than its row of the scoreboard.
struct WorkerSlot {
    state: SlotState,
    /// The worker's number, from 1: several places have the same while one worker takes over from another.
    number: u32,
    leash: Option<OwnedFd>,
    /// What is known of the requests of each thread.
    watches: Vec<Watch>,
    /// Where the worker writes the stacks of its threads.
    stacks: Option<File>,
    /// Why the worker has to go.
    removal: Option<RemovalReason>,
    /// It leaves, and accepts no more.
    closed: bool,
    /// Since when nothing is left in it that could end well.
    hopeless: Option<Instant>,
    /// When its memory was looked at last, and what it had resident, bytes.
    memory: Option<(Instant, u64)>,
    /// The time its threads had been busy at the last look, added up, microseconds.
    busy: u64,
}

/// Why a worker has to go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum RemovalReason {
    /// A request did not end after its deadline.
    Harakiri,
    /// It leaves when its successor serves.
    Recycled(Reason),
    /// It is too large to go on.
    Evil(Reason),
    /// An operator wants it to go at once.
    Unwanted,
}

impl Generation {
    /// A generation without processes; the first tick spawns its zygote. `wanted`: how many workers it begins with.
    ///
    /// # Errors
    /// Those of [`Scoreboard::create`].
    pub(super) fn new(
        number: u32,
        role: GenerationRole,
        plan: Plan,
        wanted: u32,
        now: Instant,
    ) -> io::Result<Self> {
        let serving = &plan.app.serving;
        let wanted = wanted.min(serving.processes);
        let scoreboard = Scoreboard::create(serving.rows, serving.threads)?;
        let slots = (0..serving.rows)
            .map(|index| WorkerSlot {
                state: if index < wanted {
                    SlotState::new(now)
                } else {
                    SlotState::Vacant
                },
                number: index % serving.processes + 1,
                leash: None,
                watches: vec![Watch::InTime; serving.threads as usize],
                stacks: None,
                removal: None,
                closed: false,
                hopeless: None,
                memory: None,
                busy: 0,
            })
            .collect();
        Ok(Self {
            number,
            role,
            begun: now,
            zygote: Zygote::new(now),
            channel: None,
            slots,
            scoreboard,
            wanted,
            unplaced: false,
            load: Load::default(),
            strays: Vec::new(),
            oom: Kills::now(),
            served: false,
            failed: false,
            next_look: None,
            failures: VecDeque::new(),
            files: Vec::new(),
            begun_at: SystemTime::now(),
            plan,
        })
    }

    /// Files of the application that became known, and since when they may have been read.
    pub(super) fn take_files(&mut self) -> Option<(Vec<String>, SystemTime)> {
        match self.files.is_empty() {
            true => None,
            false => Some((std::mem::take(&mut self.files), self.begun_at)),
        }
    }

    /// What went wrong and has not been judged yet, the oldest.
    pub(super) fn failure(&mut self) -> Option<(StartFailure, Option<LoadFailure>)> {
        self.failures.pop_front()
    }

    /// Whether every worker that is wanted can serve; where none is, one could be forked.
    pub(super) fn is_ready(&self) -> bool {
        let all = (1..=self.wanted).all(|number| {
            self.slots.iter().any(|slot| {
                slot.number == number
                    && matches!(
                        slot.state,
                        SlotState::Held { .. } | SlotState::Serving { .. }
                    )
            })
        });
        all && (self.wanted > 0 || self.zygote.forks())
    }

    /// Whether nothing of it is left.
    pub(super) fn is_gone(&self) -> bool {
        self.zygote == Zygote::Gone
            && self
                .slots
                .iter()
                .all(|slot| slot.state == SlotState::Vacant)
    }

    /// Whether a worker was ever told to serve.
    pub(super) fn has_served(&self) -> bool {
        self.served
    }

    /// Slots and what is in them, with the requests of each.
    pub(super) fn slots(&self) -> impl Iterator<Item = (u32, &SlotState, u64)> {
        let used = self
            .slots
            .iter()
            .zip(1..)
            .filter(|(slot, _)| slot.state != SlotState::Vacant);
        used.map(|(slot, row)| {
            (
                slot.number,
                &slot.state,
                self.scoreboard.worker_requests(row),
            )
        })
    }

    /// The ids of its processes.
    pub(super) fn pids(&self) -> impl Iterator<Item = i32> {
        let workers = self.slots.iter().filter_map(|slot| slot.state.worker());
        let zygote = self.zygote.pid().into_iter();
        zygote
            .chain(workers.map(|worker| worker.pid))
            .map(|pid| pid.get())
    }

    /// Requests of all its workers, dead ones included.
    pub(super) fn requests(&self) -> u64 {
        self.scoreboard.total_requests()
    }

    /// When [`Generation::tick`] has something to do, if nothing is heard before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let can_fork = self.zygote.forks();
        let slots = self.slots.iter().map(|slot| slot.state.deadline(can_fork));
        slots
            .chain([self.zygote.deadline(), self.next_look])
            .flatten()
            .min()
    }

    /// The descriptors to wait for: each with the slot it belongs to, `None` for the zygote's channel.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = (Option<usize>, BorrowedFd<'_>)> {
        // what a worker says is heard only once the zygote has said who it is
        let leashes = self.slots.iter().enumerate().filter_map(|(slot, it)| {
            let leash = it.leash.as_ref()?;
            it.state.worker()?;
            Some((Some(slot), leash.as_fd()))
        });
        let channel = self.channel.as_ref().map(|channel| (None, channel.as_fd()));
        channel.into_iter().chain(leashes)
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Instant) {
        let forking = self.is_forking();
        self.step_zygote(zygote_state::Event::Tick { forking }, now);
        self.settle_slots(now);
        self.place_wanted(now);
        for slot in 0..self.slots.len() {
            if self.zygote.forks() || !matches!(self.slots[slot].state, SlotState::Empty { .. }) {
                self.step_slot(slot, slot::Event::Tick, now);
            }
        }
        if !self.is_forking() {
            self.strays = Vec::new();
        }
        self.look(now);
    }

    /// Every held worker is told to serve.
    pub(super) fn take_over(&mut self, now: Instant) {
        self.role = GenerationRole::Current;
        for slot in 0..self.slots.len() {
            self.step_slot(slot, slot::Event::TakeOver, now);
        }
        self.look(now);
    }

    /// Lets everything go: the zygote at once, the workers when they have finished, or when the mercy is over.
    pub(super) fn dismiss(&mut self, word: ToWorker, now: Instant) {
        let deadline = now + self.plan.mercy;
        self.role = GenerationRole::Old;
        self.close_zygote(deadline, now);
        for slot in 0..self.slots.len() {
            self.step_slot(slot, slot::Event::Dismiss { word, deadline }, now);
        }
    }

    /// Ends everything at once.
    pub(super) fn kill(&mut self, now: Instant) {
        self.role = GenerationRole::Old;
        self.close_zygote(now + zygote::FORK_TIME, now);
        for slot in 0..self.slots.len() {
            self.step_slot(slot, slot::Event::Kill, now);
        }
    }

    fn close_zygote(&mut self, deadline: Instant, now: Instant) {
        // nothing is spawned any more: where no other generation listens there, clients are to be refused
        self.plan.sockets = Vec::new();
        let forking = self.is_forking();
        self.step_zygote(zygote_state::Event::Close { forking, deadline }, now);
    }

    fn is_forking(&self) -> bool {
        self.slots
            .iter()
            .any(|slot| matches!(slot.state, SlotState::Forking { .. }))
    }
}
