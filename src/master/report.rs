//! The lines that tell an operator how processes fare; those about a worker's death are in `death_report.rs`.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use crate::ipc::LoadFailure;
use crate::log::{self, counted};
use crate::sys::process::{Exit, Pid};

use super::generation::Generation;
use super::limits::Reason;
use super::role::GenerationRole;
use super::slot::{SlotState, WorkerProcess};
use super::zygote_state::Zygote;

/// How a generation's zygote is called.
pub(super) fn zygote_of(generation: u32) -> String {
    format!("zygote of generation {generation}")
}

/// A zygote has died that had loaded its application.
pub(super) fn zygote_died(generation: u32, pid: Pid, exit: Exit, after: &Zygote, now: Instant) {
    let next = match after {
        Zygote::Absent { due, .. } => format!("; another one is started {}", when(*due, now)),
        _ => String::new(),
    };
    tracing::error!(
        "{} (pid {pid}): {exit}; the workers serve on{next}",
        zygote_of(generation)
    );
}

/// A worker could not be forked.
pub(super) fn not_forked(slot: u32, error: &io::Error, after: &SlotState, now: Instant) {
    tracing::error!(
        "worker {slot}: cannot be forked: {error}{}",
        what_next(after, now)
    );
}

/// A request that a worker works on, as the scoreboard knows it.
pub(super) struct RequestInFlight {
    /// From 0.
    pub(super) thread: u32,
    /// Method, URI and the client's address.
    pub(super) note: Vec<u8>,
    /// Its variables, and the bytes of their block.
    pub(super) vars: u32,
    pub(super) block: u32,
    pub(super) age: Duration,
    /// Its deadline has passed: its client was answered.
    pub(super) expired: bool,
}

impl RequestInFlight {
    /// Method and URI, and the client's address.
    pub(super) fn parts(&self) -> (&[u8], &[u8]) {
        match self.note.iter().rposition(|byte| *byte == b' ') {
            Some(at) => (&self.note[..at], &self.note[at + 1..]),
            None => (&self.note, b""),
        }
    }
}

impl fmt::Display for RequestInFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (request, client) = self.parts();
        write!(f, "{}", log::escape(request))?;
        if !client.is_empty() {
            write!(f, " from {}", log::escape(client))?;
        }
        Ok(())
    }
}

/// A request has reached its deadline.
pub(super) fn expired(slot: u32, worker: &WorkerProcess, lost: &RequestInFlight, limit: Duration) {
    tracing::error!(
        "worker {slot} (pid {}): {lost} is given up after {:.1} s in thread {} (harakiri = {}); its client gets a 504 unless the answer has begun",
        worker.pid,
        lost.age.as_secs_f64(),
        lost.thread,
        limit.as_secs(),
    );
}

/// The thread of such a request is stuck.
pub(super) fn condemned(slot: u32, worker: &WorkerProcess, lost: &RequestInFlight) {
    tracing::error!(
        "worker {slot} (pid {}): thread {} does not come back from {lost}; the worker takes no more requests and is replaced",
        worker.pid,
        lost.thread,
    );
}

/// Such a request, or another one, keeps the interpreter to itself.
pub(super) fn stuck(slot: u32, worker: &WorkerProcess, lost: &RequestInFlight) {
    tracing::error!(
        "worker {slot} (pid {}): {lost} in thread {} cannot be ended, because native code keeps the interpreter to itself; the worker takes no more requests and is replaced",
        worker.pid,
        lost.thread,
    );
}

/// A worker is to be replaced.
pub(super) fn recycled(
    slot: u32,
    worker: &WorkerProcess,
    requests: u64,
    reason: Reason,
    now: Instant,
) {
    tracing::info!(
        "worker {slot} (pid {}): another one takes over from it after {:.1} s and {} ({reason})",
        worker.pid,
        now.duration_since(worker.since).as_secs_f64(),
        counted(requests, "request"),
    );
}

/// A worker did not leave in time.
pub(super) fn overdue(slot: u32, worker: &WorkerProcess, mercy: Duration) {
    tracing::warn!(
        "worker {slot} (pid {}): killed, because it has not finished within {} s of being told to leave (worker-reload-mercy)",
        worker.pid,
        mercy.as_secs()
    );
}

pub(super) fn what_next(after: &SlotState, now: Instant) -> String {
    match after {
        SlotState::Empty { due, .. } => format!("; another one is forked {}", when(*due, now)),
        _ => String::new(),
    }
}

/// `at once`, or the pause until `due`.
pub(super) fn when(due: Instant, now: Instant) -> String {
    let pause = due.saturating_duration_since(now);
    if pause.is_zero() {
        "at once".to_owned()
    } else {
        format!("in {:.1} s", pause.as_secs_f64())
    }
}

/// `1 worker`, `4 workers of 2 threads`, `no worker until a connection comes`.
pub(super) fn workers(generation: &Generation) -> String {
    let plural = match generation.wanted() {
        0 => return "no worker until a connection comes".to_owned(),
        1 => "",
        _ => "s",
    };
    let threads = match generation.plan.app.serving.threads {
        0 | 1 => String::new(),
        threads => format!(" of {threads} threads"),
    };
    let most = match generation.plan.scale.most {
        most if most > generation.wanted() => format!(" (at most {most})"),
        _ => String::new(),
    };
    format!("{} worker{plural}{threads}{most}", generation.wanted())
}

/// An application could not be loaded: the sentence, and the traceback below it if that is wanted.
pub(super) fn not_loaded(failure: &LoadFailure, next: &str, with_traceback: bool) {
    let heading = format!("{}{next}", failure.sentence);
    let traceback = failure.traceback.trim_end();
    if with_traceback && !traceback.is_empty() {
        log::block(tracing::Level::ERROR, &heading, traceback);
    } else {
        tracing::error!("{heading}");
    }
}

/// A reload could not begin.
pub(super) fn reload_refused(reason: &anyhow::Error) {
    let heading = "the reload is given up and everything stays as it was";
    let reason = format!("{reason:#}");
    match reason.lines().count() {
        0 | 1 => tracing::error!("{heading}: {reason}"),
        _ => log::block(tracing::Level::ERROR, heading, &reason),
    }
}

/// The state of a generation, a line for it and one for each slot.
pub(super) fn generation(generation: &Generation, now: Instant) {
    let role = role(generation.role);
    let zygote = match (&generation.zygote, generation.zygote.pid()) {
        (Zygote::Loading { .. }, Some(pid)) => format!("zygote pid {pid}, loading"),
        (_, Some(pid)) => format!("zygote pid {pid}"),
        (_, None) => "no zygote".to_owned(),
    };
    let number = generation.number;
    tracing::info!(
        "generation {number}: {role}, {zygote}, {}",
        counted(generation.requests(), "request")
    );
    for (slot, state, requests) in generation.slots() {
        let (Some(worker), requests) = (state.worker(), counted(requests, "request")) else {
            tracing::info!(
                "generation {number}, worker {slot}: {}{}",
                name(state),
                what_next(state, now)
            );
            continue;
        };
        let age = now.duration_since(worker.since).as_secs();
        let pid = worker.pid;
        tracing::info!(
            "generation {number}, worker {slot} (pid {pid}): {}, {age} s old, {requests}",
            name(state)
        );
    }
}

/// Where a generation stands, in words.
pub(super) fn role(role: GenerationRole) -> &'static str {
    match role {
        GenerationRole::First => "being started",
        GenerationRole::Current => "serving",
        GenerationRole::Next => "being prepared by a reload",
        GenerationRole::Old => "leaving",
    }
}

/// What a slot is doing, in words.
pub(super) fn name(slot: &SlotState) -> &'static str {
    match slot {
        SlotState::Empty { .. } | SlotState::Vacant => "empty",
        SlotState::Forking { .. } => "being forked",
        SlotState::Starting { .. } => "starting",
        SlotState::Held { .. } => "ready, waiting for its generation",
        SlotState::Serving { .. } => "serving",
        SlotState::Leaving { .. } => "leaving",
        SlotState::Killed { .. } => "killed",
    }
}
