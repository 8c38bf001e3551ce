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

use super::crew::Crew;
use super::generation::{self, Mishap, Standing, Verdict};
use super::idle::Idle;
use super::instance::Instance;
use super::plan::Plan;
use super::report;
use super::services::Services;
use super::signals::{self, Manner, Order};
use super::touch::Touches;
use super::watch::Watched;

pub(super) use control::Control;

/// Where the instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// The first generation is not complete yet.
    Starting,
    Running,
    /// Everything is let go; then the master leaves with this status.
    Leaving {
        status: i32,
    },
}

/// The master of an instance.
pub(super) struct Master {
    instance: Instance,
    signals: Signals,
    phase: Phase,
    /// At most one is first or current, at most one next, any number old.
    crews: Vec<Crew>,
    /// Generations begun.
    generations: u32,
    /// A reload that is asked for and not begun.
    wanted: Option<Manner>,
    /// How the reload that is running treats the old workers.
    manner: Manner,
    /// The last failure that was logged, so that its traceback is not repeated.
    told: Option<LoadFailure>,
    /// The emperor is gone: until then requests may be finished.
    orphaned: Option<Instant>,
    /// Files whose change asks for a reload.
    touches: Touches,
    /// Files whose change has the log opened anew.
    log_touches: Touches,
    /// Files of the application, whose change does so too (`py-autoreload`).
    modules: Touches,
    /// Files and directories that the kernel watches (`fs-reload`).
    watched: Option<Watched>,
    /// How long nobody has asked for anything, under `idle`.
    idle: Option<Idle>,
    /// Workers that are wanted again after a pause.
    paused: Option<u32>,
    /// What runs beside the workers.
    helpers: Services,
    /// A reload that waits for its hooks, before there is a generation.
    preparing: Option<Manner>,
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
    /// A worker of the generation at this index, and its seat.
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
        let helpers = Services::new(instance.config(), first, Instant::now());
        Self {
            instance,
            signals,
            phase: Phase::Starting,
            crews: Vec::new(),
            generations: 0,
            wanted: None,
            manner: Manner::Graceful,
            told: None,
            orphaned: None,
            touches: Touches::default(),
            log_touches: Touches::default(),
            modules: Touches::default(),
            watched: None,
            idle: None,
            paused: None,
            helpers,
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
        let first = self.crew(Standing::First, first, now)?;
        self.crews.push(first);
        loop {
            self.act(Instant::now());
            if let Phase::Leaving { status } = self.phase
                && self.crews.is_empty()
                && self.helpers.leave(self.instance.config(), Instant::now())
            {
                return Ok(status);
            }
            self.hear()?;
            self.obey()?;
        }
    }

    /// Does what is due, and what has become possible.
    fn act(&mut self, now: Instant) {
        for crew in &mut self.crews {
            crew.tick(now);
        }
        self.judge(now);
        self.crews.retain(|crew| !crew.is_gone());
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
                Source::Zygote(crew) => self.crews[crew].hear_zygote(now),
                Source::Worker(crew, seat) => self.crews[crew].hear_worker(seat, now),
                Source::Emperor => self.hear_emperor(now),
                Source::Fifo => self.hear_fifo(now),
                Source::Files => self.watched.iter_mut().for_each(|it| it.hear(now)),
                Source::Socket => self.awaken(now),
                Source::Helper(place) => written.push(place),
            }
        }
        self.helpers.read(&written);
        Ok(())
    }

    fn sources(&self) -> Vec<(Source, BorrowedFd<'_>)> {
        let mut sources = vec![(Source::Signals, self.signals.as_fd())];
        for (index, crew) in self.crews.iter().enumerate() {
            sources.extend(crew.descriptors().map(|(seat, fd)| {
                let source = seat.map_or(Source::Zygote(index), |seat| Source::Worker(index, seat));
                (source, fd)
            }));
        }
        let way = self.instance.way();
        sources.extend(way.emperor.descriptor().map(|fd| (Source::Emperor, fd)));
        let control = way.control.iter().flat_map(Control::descriptors);
        sources.extend(control.map(|fd| (Source::Control, fd)));
        sources.extend(way.fifos.iter().map(|it| (Source::Fifo, it.as_fd())));
        sources.extend(self.watched.iter().map(|it| (Source::Files, it.as_fd())));
        sources.extend(self.watched_sockets().map(|fd| (Source::Socket, fd)));
        let outputs = self.helpers.descriptors().enumerate();
        sources.extend(outputs.map(|(place, fd)| (Source::Helper(place), fd)));
        sources
    }

    /// Time until the next deadline.
    fn time_left(&self) -> Option<Duration> {
        let crews = self.crews.iter().filter_map(Crew::deadline);
        let touches = self.files_due();
        if self.may_reload() {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let control = self.instance.way().control.as_ref();
        let control = control.and_then(|control| control.deadline(now));
        let others = [
            self.orphaned,
            touches,
            control,
            self.idle_deadline(),
            self.instance.way().emperor.beat_deadline(),
            self.instance.way().notify.beat_deadline(),
            self.helpers.deadline(),
        ];
        let next = crews.chain(others.into_iter().flatten()).min()?;
        Some(next.saturating_duration_since(now))
    }

    /// Follows the signals that have arrived.
    fn obey(&mut self) -> io::Result<()> {
        while let Some(signal) = self.signals.take()? {
            let now = Instant::now();
            let meant = self.helpers.order(signal);
            match meant.or_else(|| signals::of(signal, self.instance.term_stops())) {
                Some(Order::Stop) => self.stop(signal, now),
                Some(Order::Reload(manner)) => self.wanted = self.wanted.max(Some(manner)),
                Some(Order::Report) => self.report(now),
                Some(Order::Reap) => self.reap(now)?,
                None => {}
            }
        }
        Ok(())
    }

    fn reap(&mut self, now: Instant) -> io::Result<()> {
        while let Some(end) = process::reap()? {
            if self.helpers.ended(end, now) {
                continue;
            }
            // one that is nobody's was left behind by the application
            for crew in &mut self.crews {
                if crew.ended(end, now) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Judges what went wrong since the last time.
    fn judge(&mut self, now: Instant) {
        for index in 0..self.crews.len() {
            while let Some((mishap, failure)) = self.crews[index].mishap() {
                if !matches!(self.phase, Phase::Leaving { .. }) {
                    self.judge_one(index, mishap, failure, now);
                }
            }
        }
    }

    fn judge_one(
        &mut self,
        index: usize,
        mishap: Mishap,
        failure: Option<LoadFailure>,
        now: Instant,
    ) {
        let crew = &mut self.crews[index];
        let number = crew.number;
        if crew.standing == Standing::Old {
            return;
        }
        match generation::judge(crew.standing, mishap) {
            Verdict::TryAgain => {
                if let Some(failure) = failure {
                    let next = crew.zygote.deadline().map_or_else(String::new, |due| {
                        format!("; it is tried again {}", report::when(due, now))
                    });
                    report::not_loaded(&failure, &next, self.told.as_ref() != Some(&failure));
                    self.told = Some(failure);
                }
            }
            Verdict::GiveUp => {
                crew.kill(now);
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
        let Some(first) = self.crews.iter().position(Crew::is_ready) else {
            return;
        };
        if !self.passes_start(first, now) {
            return;
        }
        let first = &mut self.crews[first];
        first.take_over(now);
        self.phase = Phase::Running;
        self.ready_since = Some(now);
        self.instance
            .started(first, now.duration_since(first.begun));
        self.helpers.settle(
            self.instance.config(),
            self.instance.companions(),
            first,
            now,
        );
        self.begin_idle(now);
        self.watch_files(now);
    }

    fn crew(&mut self, standing: Standing, plan: Plan, now: Instant) -> io::Result<Crew> {
        self.generations += 1;
        let wanted = self.first_count(&plan);
        Crew::new(self.generations, standing, plan, wanted, now)
    }

    fn stop(&mut self, who: impl Display, now: Instant) {
        match self.phase {
            Phase::Leaving { status } => {
                tracing::warn!("{who}: stopping at once, because it is the second time");
                self.kill_all(status, now);
            }
            Phase::Starting if !self.crews.iter().any(Crew::has_served) => {
                tracing::info!("{who}: stopping; nothing was served yet");
                self.leave(exit::OK, now);
            }
            Phase::Starting | Phase::Running => {
                tracing::info!("{who}: stopping; the requests in flight are finished first");
                self.instance.stop_begins();
                self.phase = Phase::Leaving { status: exit::OK };
                self.let_go(now);
            }
        }
    }

    /// Every worker may finish what it began.
    fn let_go(&mut self, now: Instant) {
        for crew in &mut self.crews {
            crew.dismiss(ToWorker::Stop, now);
        }
    }

    fn leave(&mut self, status: i32, now: Instant) {
        self.instance.stop_begins();
        self.kill_all(status, now);
    }

    fn kill_all(&mut self, status: i32, now: Instant) {
        self.phase = Phase::Leaving { status };
        for crew in &mut self.crews {
            crew.kill(now);
        }
        self.helpers.kill(now);
    }

    /// Takes away what the instance left outside; the last thing that the master does.
    pub(super) fn leave_the_place(&mut self, status: i32) {
        let stopped =
            || LoadFailure::from("it was stopped before the start was complete".to_owned());
        let failure = self.told.take().unwrap_or_else(stopped);
        self.instance.leave(status, &failure);
    }

    fn report(&self, now: Instant) {
        for crew in &self.crews {
            report::crew(crew, now);
        }
    }
}
