//! The master's loop: it waits in one place, hears what happened, and has the generations act on it.

mod cheap;
mod control;
mod emperor;
mod fifo;
mod helpers;
mod log;
mod reload;

use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::exit;
use crate::ipc::{LoadFailure, ToWorker};
use crate::sys::poll;
use crate::sys::process;
use crate::sys::signal::Signals;

use super::generation::Generation;
use super::idle::Idle;
use super::instance::Instance;
use super::plan::Plan;
use super::reload_watch::ReloadWatch;
use super::report;
use super::role::{self, GenerationRole, StartFailure, Verdict};
use super::services::Services;
use super::signals::{self, ReloadMode, SignalAction};
use crate::watch::PollWatch;

pub(super) use control::Control;

/// Where the instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// The first generation is not complete yet.
    Starting,
    Running,
    /// Everything is let go; then the master leaves with this status.
    Stopping {
        status: i32,
    },
}

/// The master of an instance.
pub(super) struct Master {
    instance: Instance,
    signals: Signals,
    phase: Phase,
    /// At most one is first or current, at most one next, any number old.
    generations: Vec<Generation>,
    /// Generations begun.
    generations_started: u32,
    /// A reload that is asked for and not begun.
    wanted: Option<ReloadMode>,
    /// How the reload that is running treats the old workers.
    mode: ReloadMode,
    /// The last failure that was logged, so that its traceback is not repeated.
    told: Option<LoadFailure>,
    /// The emperor is gone: until then requests may be finished.
    orphaned: Option<Instant>,
    /// Files whose change asks for a reload.
    touches: PollWatch,
    /// Files whose change has the log opened anew.
    log_touches: PollWatch,
    /// Files of the application, whose change does so too (`py-autoreload`).
    modules: PollWatch,
    /// Files and directories that the kernel watches (`fs-reload`).
    watched: Option<ReloadWatch>,
    /// How long nobody has asked for anything, under `idle`.
    idle: Option<Idle>,
    /// Workers that are wanted again after a pause.
    paused: Option<u32>,
    /// What runs beside the workers.
    services: Services,
    /// A reload that waits for its hooks, before there is a generation.
    preparing: Option<ReloadMode>,
    /// When the instance began to serve.
    ready_since: Option<Instant>,
    /// Reloads begun, and how the last one that is over went.
    reloads: reload::Reloads,
    /// What was asked by way of the emperor and is not answered yet.
    questions: Vec<control::Question>,
}

/// What the master waits for.
#[derive(Clone, Copy, Debug)]
enum Source {
    Signals,
    /// The zygote of the generation at this index.
    Zygote(usize),
    /// A worker of the generation at this index, and its slot.
    Worker(usize, usize),
    Emperor,
    /// A connection, while there are no workers to accept it.
    Socket,
    /// The output of a helper, at this place.
    Helper(usize),
    /// The control socket, or one who is connected to it.
    Control,
    Fifo,
    /// The kernel has something to tell of files.
    Files,
}

impl Master {
    pub(super) fn new(instance: Instance, signals: Signals, first: &Plan) -> Self {
        let services = Services::new(instance.config(), first, Instant::now());
        Self {
            instance,
            signals,
            phase: Phase::Starting,
            generations: Vec::new(),
            generations_started: 0,
            wanted: None,
            mode: ReloadMode::Graceful,
            told: None,
            orphaned: None,
            touches: PollWatch::default(),
            log_touches: PollWatch::default(),
            modules: PollWatch::default(),
            watched: None,
            idle: None,
            paused: None,
            services,
            preparing: None,
            ready_since: None,
            reloads: reload::Reloads::default(),
            questions: Vec::new(),
        }
    }

    /// Runs the instance, beginning with the generation that `first` describes, until it stops; returns the exit
    /// status.
    ///
    /// # Errors
    /// When the kernel refuses what the master cannot be without.
    pub(super) fn run(&mut self, first: Plan) -> io::Result<i32> {
        let now = Instant::now();
        // what is touched from now on may be too late for the code that is loaded
        self.watch_files(now);
        let first = self.generation(GenerationRole::First, first, now)?;
        self.generations.push(first);
        loop {
            self.act(Instant::now());
            if let Phase::Stopping { status } = self.phase
                && self.generations.is_empty()
                && self.services.leave(self.instance.config(), Instant::now())
            {
                return Ok(status);
            }
            self.hear()?;
            self.obey()?;
        }
    }

    /// Does what is due, and what has become possible.
    fn act(&mut self, now: Instant) {
        for generation in &mut self.generations {
            generation.tick(now);
        }
        self.judge(now);
        self.generations.retain(|generation| !generation.is_gone());
        if self.orphaned.is_some_and(|due| due <= now) {
            self.orphaned = None;
            self.kill_all(exit::OK, now);
        }
        if self.phase == Phase::Starting {
            self.finish_start(now);
        }
        // not else: a reload may have been asked for while the first generation was starting
        if self.phase == Phase::Running {
            self.finish_reload(now);
            self.finish_hand_over();
            self.look_at_files(now);
            self.look_at_idleness(now);
            self.begin_reload(now);
        }
        self.tend_helpers(now);
        self.serve_control(now);
        self.beat(now);
    }

    /// Waits until something is heard or due, and listens to zygotes and workers.
    fn hear(&mut self) -> io::Result<()> {
        let (sources, fds): (Vec<Source>, Vec<BorrowedFd<'_>>) = self.sources().into_iter().unzip();
        let ready = poll::wait(&fds, self.time_left())?;
        let now = Instant::now();
        let mut written = Vec::new();
        for index in ready {
            match sources[index] {
                // they are heard when they are obeyed, and served
                Source::Signals | Source::Control => {}
                Source::Zygote(generation) => self.generations[generation].hear_zygote(now),
                Source::Worker(generation, slot) => {
                    self.generations[generation].hear_worker(slot, now)
                }
                Source::Emperor => self.hear_emperor(now),
                Source::Fifo => self.hear_fifo(now),
                Source::Files => self.watched.iter_mut().for_each(|it| it.read(now)),
                Source::Socket => self.awaken(now),
                Source::Helper(place) => written.push(place),
            }
        }
        self.services.read(&written);
        Ok(())
    }

    fn sources(&self) -> Vec<(Source, BorrowedFd<'_>)> {
        let mut sources = vec![(Source::Signals, self.signals.as_fd())];
        for (index, generation) in self.generations.iter().enumerate() {
            sources.extend(generation.descriptors().map(|(slot, fd)| {
                let source = slot.map_or(Source::Zygote(index), |slot| Source::Worker(index, slot));
                (source, fd)
            }));
        }
        let resources = self.instance.resources();
        sources.extend(
            resources
                .emperor
                .descriptor()
                .map(|fd| (Source::Emperor, fd)),
        );
        let control = resources.control.iter().flat_map(Control::descriptors);
        sources.extend(control.map(|fd| (Source::Control, fd)));
        sources.extend(resources.fifos.iter().map(|it| (Source::Fifo, it.as_fd())));
        sources.extend(self.watched.iter().map(|it| (Source::Files, it.as_fd())));
        sources.extend(self.watched_sockets().map(|fd| (Source::Socket, fd)));
        let outputs = self.services.descriptors().enumerate();
        sources.extend(outputs.map(|(place, fd)| (Source::Helper(place), fd)));
        sources
    }

    /// Time until the next deadline.
    fn time_left(&self) -> Option<Duration> {
        let generations = self.generations.iter().filter_map(Generation::deadline);
        let touches = self.files_due();
        if self.may_reload() {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let control = self.instance.resources().control.as_ref();
        let control = control.and_then(|control| control.deadline(now));
        let others = [
            self.orphaned,
            touches,
            control,
            self.idle_deadline(),
            self.instance.resources().emperor.beat_deadline(),
            self.instance.resources().notify.beat_deadline(),
            self.services.deadline(),
        ];
        let next = generations.chain(others.into_iter().flatten()).min()?;
        Some(next.saturating_duration_since(now))
    }

    /// Follows the signals that have arrived.
    fn obey(&mut self) -> io::Result<()> {
        while let Some(signal) = self.signals.take()? {
            let now = Instant::now();
            let meant = self.services.order(signal);
            match meant.or_else(|| signals::action(signal, self.instance.term_stops())) {
                Some(SignalAction::Stop) => self.stop(signal, now),
                Some(SignalAction::Reload(mode)) => self.wanted = self.wanted.max(Some(mode)),
                Some(SignalAction::Report) => self.report(now),
                Some(SignalAction::Reap) => self.reap(now)?,
                None => {}
            }
        }
        Ok(())
    }

    fn reap(&mut self, now: Instant) -> io::Result<()> {
        while let Some(end) = process::reap()? {
            if self.services.ended(end, now) {
                continue;
            }
            // one that is nobody's was left behind by the application
            for generation in &mut self.generations {
                if generation.ended(end, now) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Judges what went wrong since the last time.
    fn judge(&mut self, now: Instant) {
        for index in 0..self.generations.len() {
            while let Some((what, failure)) = self.generations[index].failure() {
                if !matches!(self.phase, Phase::Stopping { .. }) {
                    self.judge_one(index, what, failure, now);
                }
            }
        }
    }

    fn judge_one(
        &mut self,
        index: usize,
        what: StartFailure,
        failure: Option<LoadFailure>,
        now: Instant,
    ) {
        let generation = &mut self.generations[index];
        let number = generation.number;
        if generation.role == GenerationRole::Old {
            return;
        }
        match role::judge(generation.role, what) {
            Verdict::TryAgain => {
                if let Some(failure) = failure {
                    let next = generation
                        .zygote
                        .deadline()
                        .map_or_else(String::new, |due| {
                            format!("; it is tried again {}", report::when(due, now))
                        });
                    report::not_loaded(&failure, &next, self.told.as_ref() != Some(&failure));
                    self.told = Some(failure);
                }
            }
            Verdict::GiveUp => {
                generation.kill(now);
                if let Some(failure) = &failure {
                    report::not_loaded(failure, "", true);
                }
                tracing::error!(
                    "the reload is given up: generation {number} cannot serve; the workers of the one before serve on"
                );
                self.reload_failed(failure.unwrap_or_else(|| LoadFailure {
                    sentence: "its workers died at their start".to_owned(),
                    traceback: String::new(),
                }));
            }
            Verdict::Fatal => {
                if let Some(failure) = failure {
                    report::not_loaded(&failure, "", true);
                    self.told = Some(failure);
                }
                self.leave(exit::NO_APP, now);
            }
        }
    }

    fn finish_start(&mut self, now: Instant) {
        let Some(first) = self.generations.iter().position(Generation::is_ready) else {
            return;
        };
        if !self.passes_start(first, now) {
            return;
        }
        let first = &mut self.generations[first];
        first.take_over(now);
        self.phase = Phase::Running;
        self.ready_since = Some(now);
        self.instance
            .started(first, now.duration_since(first.begun));
        self.services.settle(
            self.instance.config(),
            self.instance.companions(),
            first,
            now,
        );
        self.begin_idle(now);
        self.watch_files(now);
    }

    fn generation(
        &mut self,
        role: GenerationRole,
        plan: Plan,
        now: Instant,
    ) -> io::Result<Generation> {
        self.generations_started += 1;
        let wanted = self.first_count(&plan);
        Generation::new(self.generations_started, role, plan, wanted, now)
    }

    fn stop(&mut self, who: impl Display, now: Instant) {
        match self.phase {
            Phase::Stopping { status } => {
                tracing::warn!("{who}: stopping at once, because it is the second time");
                self.kill_all(status, now);
            }
            Phase::Starting if !self.generations.iter().any(Generation::has_served) => {
                tracing::info!("{who}: stopping; nothing was served yet");
                self.leave(exit::OK, now);
            }
            Phase::Starting | Phase::Running => {
                tracing::info!("{who}: stopping; the requests in flight are finished first");
                self.instance.stop_begins();
                self.phase = Phase::Stopping { status: exit::OK };
                self.let_go(now);
            }
        }
    }

    /// Every worker may finish what it began.
    fn let_go(&mut self, now: Instant) {
        for generation in &mut self.generations {
            generation.dismiss(ToWorker::Stop, now);
        }
    }

    fn leave(&mut self, status: i32, now: Instant) {
        self.instance.stop_begins();
        self.kill_all(status, now);
    }

    fn kill_all(&mut self, status: i32, now: Instant) {
        self.phase = Phase::Stopping { status };
        for generation in &mut self.generations {
            generation.kill(now);
        }
        self.services.kill(now);
    }

    /// Takes away what the instance left outside; the last thing that the master does.
    pub(super) fn leave_the_place(&mut self, status: i32) {
        let stopped =
            || LoadFailure::from("it was stopped before the start was complete".to_owned());
        let failure = self.told.take().unwrap_or_else(stopped);
        self.instance.leave(status, &failure);
    }

    fn report(&self, now: Instant) {
        for generation in &self.generations {
            report::generation(generation, now);
        }
    }
}
