//! A generation: its state, the queries of its state, and the actions on its processes.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::ipc::{self, LoadFailure, ToWorker, ToZygote};
use crate::log;
use crate::master::app_signals::SignalTable;
use crate::master::fork_watch::ForkWatch;
use crate::master::line_collector::LineCollector;
use crate::master::plan::Plan;
use crate::master::role::{GenerationRole, StartFailure};
use crate::master::scale::History;
use crate::master::slot::{self, SlotState};
use crate::master::slow_start::SlowStart;
use crate::master::worker_ids::{IdHolder, Share};
use crate::master::worker_slot::{WorkerRecord, WorkerSlot};
use crate::master::zygote_state::{self, Zygote};
use crate::master::{report, zygote};
use crate::shared::scoreboard::Scoreboard;
use crate::stats::WorkerTally;
use crate::sys::oom::OomKills;
use crate::sys::packet;
use crate::sys::process::{self, End, Pid};

use super::mules::Mules;

/// The zygote and the workers of one generation.
pub(in crate::master) struct Generation {
    /// Number of the generation; the instance's first generation has 1.
    pub(in crate::master) number: u32,
    pub(in crate::master) role: GenerationRole,
    pub(in crate::master) plan: Plan,
    /// The time at which the generation was created: `begun` by the monotonic clock, `begun_at` by the clock of file
    /// times.
    pub(in crate::master) begun: Instant,
    pub(super) begun_at: SystemTime,
    pub(in crate::master) zygote: Zygote,
    /// The channel to the zygote; `None` without a zygote, and after the channel has ended or failed.
    pub(super) channel: Option<OwnedFd>,
    pub(super) slots: Vec<WorkerSlot>,
    pub(super) scoreboard: Arc<Scoreboard>,
    /// The counts that the master keeps for each worker id; the first entry is for worker 1.
    pub(super) tallies: Vec<WorkerTally>,
    /// Writes the workers' request lines to the log; `None` if each worker writes its lines itself.
    pub(in crate::master) lines: Option<LineCollector>,
    /// Number of requested workers. Their ids are 1 to `wanted`.
    pub(super) wanted: u32,
    /// Whether a requested worker may have no slot yet. The next tick looks for a slot.
    pub(super) has_unplaced: bool,
    /// The worker ids that this generation may use. During a reload two generations share the ids.
    pub(super) share: Share,
    /// Ports and locks that the import of the zygote has taken.
    pub(super) taken: Vec<String>,
    /// Whether no zygote may be started, because the import of another generation takes the same ports and locks.
    pub(super) import_is_suspended: bool,
    pub(super) load: LoadSampling,
    /// The processes that had not finished their start at the last tick.
    pub(super) slow_starts: Vec<SlowStart>,
    /// Exits of unknown children while a fork was pending. Such a child may be a worker whose pid the zygote has not
    /// reported yet.
    pub(super) unknown_exits: Vec<End>,
    /// The kernel's count of OOM kills when it was read last.
    pub(super) oom_kills: OomKills,
    /// The timeout of the zygote's answers to fork requests.
    pub(super) fork_watch: ForkWatch,
    /// Duration of the longest successful start of a zygote or worker of this generation.
    pub(super) longest_start: Duration,
    /// Whether a worker of this generation was ever told to serve.
    pub(super) has_served: bool,
    /// Time of the next check of the workers: requests, limits and load.
    pub(super) next_check: Option<Instant>,
    /// Failures that the master has not handled yet, oldest first.
    pub(super) failures: VecDeque<(StartFailure, Option<LoadFailure>)>,
    /// Source files of the application that the master does not watch yet (`py-autoreload`).
    pub(super) new_files: Vec<String>,
    pub(super) mules: Mules,
    pub(super) signals: SignalTable,
    /// Signals that the application has raised and the master has not handled yet.
    pub(super) raised: Vec<u8>,
    /// Whether the application has set deadlines for requests (`uwsgi.set_user_harakiri`).
    pub(super) has_own_deadlines: bool,
    /// Whether the triggers of `signals` have changed since the last [`Generation::take_signals_changed`].
    pub(super) signals_changed: bool,
    /// The names and messages of alarms that the application has raised.
    pub(super) alarms: Vec<(String, String)>,
}

/// The samples of the load. `cheaper` computes the number of workers from them.
#[derive(Default)]
pub(super) struct LoadSampling {
    pub(super) history: History,
    pub(super) sampled: Option<Instant>,
    /// Whether a warning was already logged because the queue of a socket cannot be read.
    pub(super) queue_warned: bool,
}

impl Generation {
    /// Creates a generation without processes. The first tick spawns its zygote. `wanted` is the number of workers to
    /// start with.
    ///
    /// # Errors
    /// Those of [`Scoreboard::create`] and [`LineCollector::for_log`].
    pub(in crate::master) fn new(
        number: u32,
        role: GenerationRole,
        plan: Plan,
        wanted: u32,
        now: Instant,
    ) -> io::Result<Self> {
        let (processes, rows) = (plan.app.worker.processes, plan.app.serving.rows);
        let wanted = wanted.min(processes);
        let board = Scoreboard::create(plan.app.all_rows(), plan.app.worker.threads)?;
        let scoreboard = Arc::new(board);
        if plan.measures_requests {
            scoreboard.enable_measurements();
        }
        let tallies = vec![WorkerTally::default(); processes as usize];
        let lines = LineCollector::for_log(&plan.app.serving.request_log, rows)?;
        let slots = (0..rows)
            .map(|index| WorkerSlot::new(index % processes + 1, SlotState::Vacant))
            .collect();
        Ok(Self {
            number,
            role,
            begun: now,
            begun_at: SystemTime::now(),
            zygote: first_zygote(&plan, now),
            channel: None,
            slots,
            scoreboard,
            lines,
            tallies,
            wanted,
            has_unplaced: true,
            share: match role {
                GenerationRole::Next => Share::UpTo(0),
                _ => Share::All,
            },
            load: LoadSampling::default(),
            slow_starts: Vec::new(),
            taken: Vec::new(),
            import_is_suspended: false,
            unknown_exits: Vec::new(),
            oom_kills: OomKills::now(),
            fork_watch: ForkWatch::default(),
            longest_start: Duration::ZERO,
            has_served: false,
            // without a zygote no other event follows, so the master checks the generation now and completes the start
            // or the reload
            next_check: (!plan.needs_zygote).then_some(now),
            failures: VecDeque::new(),
            new_files: Vec::new(),
            mules: Mules::new(plan.app.mules.len()),
            signals: SignalTable::new(plan.signals.clone()),
            raised: Vec::new(),
            has_own_deadlines: false,
            signals_changed: false,
            alarms: Vec::new(),
            plan,
        })
    }

    /// Takes the alarms that the application has raised: names and messages.
    pub(in crate::master) fn take_alarms(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.alarms)
    }

    /// Takes the application's source files that were reported since the last call. Also returns the time at which the
    /// generation was created, because none of the files was read earlier.
    pub(in crate::master) fn take_new_files(&mut self) -> Option<(Vec<String>, SystemTime)> {
        match self.new_files.is_empty() {
            true => None,
            false => Some((std::mem::take(&mut self.new_files), self.begun_at)),
        }
    }

    /// Removes and returns the oldest failure that the master has not handled yet.
    pub(in crate::master) fn take_failure(
        &mut self,
    ) -> Option<(StartFailure, Option<LoadFailure>)> {
        self.failures.pop_front()
    }

    /// Whether the generation is ready to serve. Its zygote must be able to fork if this is a reload or if no worker is
    /// requested. Otherwise every requested worker must be able to serve. A generation without a zygote is always
    /// ready.
    pub(in crate::master) fn is_ready(&self) -> bool {
        if self.role == GenerationRole::Next || !self.plan.needs_zygote {
            return self.zygote.forks() || !self.plan.needs_zygote;
        }
        let all = (1..=self.wanted).all(|worker_id| {
            self.slots.iter().any(|slot| {
                slot.worker_id == worker_id
                    && matches!(
                        slot.state,
                        SlotState::Held { .. } | SlotState::Serving { .. }
                    )
            })
        });
        all && (self.wanted > 0 || self.zygote.forks())
    }

    /// Whether the generation has been dismissed and all its processes have exited.
    pub(in crate::master) fn is_gone(&self) -> bool {
        self.role == GenerationRole::Old
            && self.zygote == Zygote::Gone
            && self.mules.is_gone()
            && self
                .slots
                .iter()
                .all(|slot| slot.state == SlotState::Vacant)
    }

    /// Whether a worker of this generation was ever told to serve.
    pub(in crate::master) fn has_served(&self) -> bool {
        self.has_served
    }

    /// Whether a fork is pending.
    pub(super) fn is_forking(&self) -> bool {
        let mut states = self.slots.iter().map(|slot| &slot.state);
        states.any(|state| matches!(state, SlotState::Forking { .. })) || self.mules.is_forking()
    }

    /// The slots in use, each with its worker id, its state, and the number of requests of its process.
    pub(in crate::master) fn slots(&self) -> impl Iterator<Item = (u32, &SlotState, u64)> {
        let used = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.state != SlotState::Vacant);
        used.map(|(index, slot)| (slot.worker_id, &slot.state, self.requests_of(index)))
    }

    /// The processes that have a worker id.
    pub(in crate::master) fn id_holders(&self) -> impl Iterator<Item = IdHolder> {
        self.slots.iter().filter_map(WorkerSlot::id_holder)
    }

    /// The process ids of the zygote and the workers.
    pub(in crate::master) fn pids(&self) -> impl Iterator<Item = i32> {
        let workers = self.slots.iter().filter_map(|slot| slot.state.worker());
        let zygote = self.zygote.pid().into_iter();
        zygote
            .chain(workers.map(|worker| worker.pid))
            .chain(self.mules.pids())
            .map(|pid| pid.get())
    }

    /// Number of requests of all workers of this generation, including workers that have exited.
    pub(in crate::master) fn requests(&self) -> u64 {
        self.scoreboard.total_requests()
    }

    /// Number of requests of the process in a slot. If the slot is empty, the number of its last process.
    pub(super) fn requests_of(&self, slot: usize) -> u64 {
        self.scoreboard.worker_requests(row_of(slot))
    }

    /// Number of responses of the worker in a slot that did not reach their clients completely.
    pub(super) fn cut_responses_of(&self, slot: usize) -> u64 {
        self.scoreboard.worker_write_errors(row_of(slot))
    }

    /// The channels to poll, each with its scoreboard row: the row of the worker, or 0 for the zygote.
    pub(in crate::master) fn descriptors(&self) -> impl Iterator<Item = (u32, BorrowedFd<'_>)> {
        // a worker's channel is polled only after the zygote has reported the worker's pid
        let leashes = self.slots.iter().enumerate().filter_map(|(index, slot)| {
            slot.state.worker()?;
            Some((row_of(index), slot.leash()?.as_fd()))
        });
        let channel = self.channel.as_ref().map(|channel| (0, channel.as_fd()));
        let mules = self.mules.leashes();
        let mules = mules.map(|(mule, leash)| (self.mule_row(mule), leash));
        channel.into_iter().chain(leashes).chain(mules)
    }

    /// Applies an event to the zygote and performs the action that follows.
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
        match zygote::spawn(&self.plan) {
            Ok((pid, channel)) => {
                self.forget_signals();
                self.step_zygote(zygote_state::Event::Spawned(pid), now);
                let sent = self.send_load(channel.as_fd());
                let sent = sent.and_then(|()| self.send_queues(channel.as_fd()));
                self.channel = Some(channel);
                if let Err(error) = sent {
                    self.on_zygote_lost(Some(error), now);
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
        fds.extend(self.lines.iter().flat_map(LineCollector::descriptors));
        fds.extend(self.plan.sockets.iter().map(|socket| socket.fd()));
        fds.extend(self.plan.shared_memory.fds());
        fds.extend(log::channel());
        let message = ToZygote::Load {
            app: Box::new(self.plan.app.clone()),
            has_rings: self.lines.is_some(),
        };
        ipc::send_now(channel, &message, &fds)
    }

    /// Handles the end of the zygote's channel, or its failure with `error`, which is logged. The zygote's exit status
    /// is handled later, when it is reaped.
    pub(super) fn on_zygote_lost(&mut self, error: Option<io::Error>, now: Instant) {
        self.channel = None;
        if let Some(error) = error {
            tracing::error!(
                "{}: its channel failed: {error}",
                report::zygote_of(self.number)
            );
        }
        self.step_zygote(zygote_state::Event::ChannelClosed, now);
    }

    /// Applies an event to a slot and performs the action that follows.
    pub(super) fn step_slot(&mut self, slot: usize, event: slot::Event, now: Instant) {
        let (state, action) = slot::step(self.slots[slot].state, event, now);
        self.slots[slot].state = state;
        match action {
            slot::Action::Nothing => {}
            slot::Action::Fork => match self.fork(slot) {
                Ok(()) => self.fork_watch.asked(now),
                Err(error) => self.fork_failed(slot, &error, now),
            },
            slot::Action::Send(message) => self.send(slot, message),
            slot::Action::Kill => {
                let worker = state.worker();
                worker.into_iter().for_each(|worker| kill(worker.pid));
            }
            slot::Action::KillOverdue => {
                if let Some(worker) = state.worker() {
                    let is_busy = !self.requests_in_flight(slot).is_empty();
                    let worker_id = self.slots[slot].worker_id;
                    report::overdue(worker_id, worker, is_busy, self.plan.mercy);
                    kill(worker.pid);
                }
            }
        }
    }

    fn fork(&mut self, slot: usize) -> io::Result<()> {
        let row = row_of(slot);
        self.scoreboard.reset_worker(row);
        self.slots[slot].was_used = true;
        self.slots[slot].record = None;
        let (ours, theirs) = packet::pair()?;
        let mut record = WorkerRecord::new(ours, self.plan.app.worker.threads);
        record.busy = self.scoreboard.row_running_us(row);
        self.slots[slot].record = Some(record);
        let channel = self.channel.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        // the worker waits for `ToWorker::Serve`: until then it can be dismissed without losing a request
        let request = ToZygote::Fork {
            worker_id: self.slots[slot].worker_id,
            row,
            hold: true,
        };
        ipc::send_now(channel.as_fd(), &request, &[theirs.as_fd()])
    }

    /// Handles the failed fork of a slot's worker: closes the worker's channel, schedules another attempt, and logs
    /// `error`.
    pub(super) fn fork_failed(&mut self, slot: usize, error: &io::Error, now: Instant) {
        self.slots[slot].close_leash();
        self.step_slot(slot, slot::Event::NotForked, now);
        let it = &self.slots[slot];
        report::not_forked(it.worker_id, error, &it.state, now);
    }

    /// Sends a message to the worker in a slot, without waiting. Without an open channel the message is dropped.
    pub(super) fn send(&mut self, slot: usize, message: ToWorker) {
        self.has_served |= message == ToWorker::Serve;
        if let Some(leash) = self.slots[slot].leash() {
            // an error means that the worker has exited or does not read its messages; a worker that does not exit in
            // time is killed
            let _ = ipc::send_now(leash.as_fd(), &message, &[]);
        }
    }

    /// Sends the reopened log file to the zygote and the workers, which redirect their output to it.
    pub(in crate::master) fn redirect_log(&self, log: BorrowedFd<'_>) {
        // an error means that the process has exited, or does not read its messages
        if let Some(channel) = &self.channel {
            let _ = ipc::send_now(channel.as_fd(), &ToZygote::Log, &[log]);
        }
        let workers = self.slots.iter().filter_map(WorkerSlot::leash);
        let mules = self.mules.leashes().map(|(_, leash)| leash);
        for leash in workers.map(AsFd::as_fd).chain(mules) {
            let _ = ipc::send_now(leash, &ToWorker::Log, &[log]);
        }
    }

    /// Schedules a check of the workers at `when`, unless an earlier check is scheduled.
    pub(super) fn check_by(&mut self, when: Instant) {
        self.next_check = Some(self.next_check.map_or(when, |known| known.min(when)));
    }
}

/// The state of the zygote of a new generation: gone if the plan needs none.
fn first_zygote(plan: &Plan, now: Instant) -> Zygote {
    match plan.needs_zygote {
        true => Zygote::new(now),
        false => Zygote::Gone,
    }
}

/// The scoreboard row of the worker in a slot. Row 0 stands for the zygote.
pub(super) fn row_of(slot: usize) -> u32 {
    slot as u32 + 1
}

fn kill(pid: Pid) {
    if let Err(error) = process::kill_hard(pid) {
        tracing::error!("process {pid} cannot be killed: {error}");
    }
}
