//! Log messages about zygotes, workers and reloads. `death_report.rs` has the messages about the end of a worker.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use crate::ipc::LoadFailure;
use crate::log::{self, counted};
use crate::shared::signal_rows;
use crate::sys::process::{Exit, Pid};

use super::fork_watch;
use super::role::GenerationRole;
use super::slot::{SlotState, WorkerProcess};
use super::slow_start::SlowStart;
use super::worker_limits::RecycleReason;
use super::zygote_state::Zygote;

/// The name of a generation's zygote in the log.
pub(super) fn zygote_of(generation: u32) -> String {
    format!("zygote of generation {generation}")
}

/// Logs that a process has not finished its start. `has_stack` means that the process has a handler for the stack
/// signal, so its Python stack follows in the log.
pub(super) fn slow_start(who: &str, start: &SlowStart, has_stack: bool, now: Instant) {
    let seconds = now.duration_since(start.since).as_secs();
    let stack = match has_stack {
        true => "it is here (Python stack, most recent call first)",
        false => {
            "its interpreter has not come to the application yet: see the .pth files and sitecustomize.py of its site-packages"
        }
    };
    tracing::warn!(
        "{who} (pid {}): the load of the application has not finished after {seconds} s; {stack}",
        start.pid
    );
}

/// Logs that a zygote is killed because it does not fork.
pub(super) fn zygote_unresponsive(generation: u32, pid: Pid) {
    tracing::error!(
        "{} (pid {pid}): killed: it has not forked a worker within {} s; the process is stopped, or a function of the application does not return (os.register_at_fork); the application is imported again",
        zygote_of(generation),
        fork_watch::TIMEOUT.as_secs()
    );
}

/// Logs that a zygote exited after it had loaded the application.
pub(super) fn zygote_died(generation: u32, pid: Pid, exit: Exit, after: &Zygote, now: Instant) {
    let next = match after {
        Zygote::Absent { due, .. } => format!("; the next one starts {}", when(*due, now)),
        _ => String::new(),
    };
    tracing::error!(
        "{} (pid {pid}): {exit}; the workers continue to serve{next}",
        zygote_of(generation)
    );
}

/// Logs that a worker could not be forked, and when the next attempt follows.
pub(super) fn not_forked(worker_id: u32, error: &io::Error, after: &SlotState, now: Instant) {
    tracing::error!(
        "worker {worker_id}: cannot be forked: {error}{}",
        next_fork(after, now)
    );
}

/// A request in flight in a worker, as the scoreboard describes it.
pub(super) struct RequestInFlight {
    /// Index of the thread that handles the request, from 0.
    pub(super) thread: u32,
    /// Method, URI and the client's address.
    pub(super) note: Vec<u8>,
    /// Number of the request's variables, and size of their block in bytes.
    pub(super) vars: u32,
    pub(super) block: u32,
    pub(super) age: Duration,
    /// Whether the deadline of the request (`harakiri`) has passed, so that its client got an error.
    pub(super) expired: bool,
}

impl RequestInFlight {
    /// Splits the note into the request line (method and URI) and the client's address. The address is empty if the
    /// note has no address.
    pub(super) fn parts(&self) -> (&[u8], &[u8]) {
        match self.note.iter().rposition(|byte| *byte == b' ') {
            Some(at) => (&self.note[..at], &self.note[at + 1..]),
            None => (&self.note, b""),
        }
    }

    /// The consequence for the client if the request is aborted, as text. Empty for the handler of a signal, which has
    /// no client.
    fn effect_of_abort(&self) -> &'static str {
        match self.note.starts_with(signal_rows::NOTE.as_bytes()) {
            true => "",
            false => "; the client gets a 504 unless the response has begun",
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

/// Logs that a request exceeded `harakiri`.
pub(super) fn expired(
    worker_id: u32,
    worker: &WorkerProcess,
    request: &RequestInFlight,
    limit: Duration,
) {
    tracing::error!(
        "worker {worker_id} (pid {}): {request}: aborted after {:.1} s in thread {} (harakiri = {}){}",
        worker.pid,
        request.age.as_secs_f64(),
        request.thread,
        limit.as_secs(),
        request.effect_of_abort(),
    );
}

/// Logs that the thread of an expired request did not return.
pub(super) fn not_returned(worker_id: u32, worker: &WorkerProcess, request: &RequestInFlight) {
    tracing::error!(
        "worker {worker_id} (pid {}): thread {} does not return from {request}; the worker accepts no more requests and is replaced",
        worker.pid,
        request.thread,
    );
}

/// Logs that the thread of an expired request cannot be interrupted.
pub(super) fn stuck(worker_id: u32, worker: &WorkerProcess, request: &RequestInFlight) {
    tracing::error!(
        "worker {worker_id} (pid {}): {request} in thread {} cannot be interrupted, because native code holds the interpreter (GIL); the worker accepts no more requests and is replaced",
        worker.pid,
        request.thread,
    );
}

/// Logs that a worker is being replaced, and why.
pub(super) fn recycled(
    worker_id: u32,
    worker: &WorkerProcess,
    requests: u64,
    reason: RecycleReason,
    now: Instant,
) {
    tracing::info!(
        "worker {worker_id} (pid {}): being replaced after {:.1} s and {} ({reason})",
        worker.pid,
        now.duration_since(worker.since).as_secs_f64(),
        counted(requests, "request"),
    );
}

/// Logs that the worker `new` gets an id although the process `old` with the same id has not exited.
pub(super) fn id_is_shared(worker_id: u32, old: Pid, new: Pid, timeout: Duration) {
    tracing::warn!(
        "worker {worker_id}: two processes have this worker_id for now: pid {old} has not exited within {} s (worker-id-timeout), and pid {new} replaces it",
        timeout.as_secs_f64()
    );
}

/// Logs that a worker exceeded `worker-reload-mercy` and is killed. `is_busy` means that the worker has requests in
/// flight.
pub(super) fn overdue(worker_id: u32, worker: &WorkerProcess, is_busy: bool, mercy: Duration) {
    let what = match is_busy {
        true => "it did not finish its requests",
        false => {
            "it has finished its requests, but a thread or an atexit function of the application did not end"
        }
    };
    tracing::warn!(
        "worker {worker_id} (pid {}): killed: {what} within {} s (worker-reload-mercy)",
        worker.pid,
        mercy.as_secs()
    );
}

/// The end of a sentence that says when the next worker of a slot is forked; empty if no worker follows.
pub(super) fn next_fork(after: &SlotState, now: Instant) -> String {
    match after {
        SlotState::Empty { due, .. } => format!("; the next one is forked {}", when(*due, now)),
        _ => String::new(),
    }
}

/// The text `at once`, or the pause until `due`.
pub(super) fn when(due: Instant, now: Instant) -> String {
    let pause = due.saturating_duration_since(now);
    if pause.is_zero() {
        "at once".to_owned()
    } else {
        format!("in {:.1} s", pause.as_secs_f64())
    }
}

/// Logs that the application could not be loaded: one sentence that ends with `next`, and below it Python's traceback
/// if `with_traceback` is set.
pub(super) fn not_loaded(failure: &LoadFailure, next: &str, with_traceback: bool) {
    let heading = format!("{}{next}", failure.sentence);
    let traceback = failure.traceback.trim_end();
    if with_traceback && !traceback.is_empty() {
        log::block(tracing::Level::ERROR, &heading, traceback);
    } else {
        tracing::error!("{heading}");
    }
}

/// Logs that the import of a reload is repeated, because the zygote `pid` of the running generation holds the ports or
/// locks `lacking`. `failure`: the failure of the first import, if it failed.
pub(super) fn import_repeated(lacking: &[&str], failure: Option<&LoadFailure>, pid: Pid) {
    let held = lacking.join(", ");
    let what = match failure {
        Some(failure) => format!("{}, while", failure.sentence),
        None => format!("the application was loaded without the {held}, because"),
    };
    tracing::info!(
        "reloading: {what} the zygote of the running generation (pid {pid}) holds the {held}; that zygote is ended and the application is loaded once more, and the workers continue to serve"
    );
}

/// Logs that a reload was refused before it began.
pub(super) fn reload_refused(reason: &anyhow::Error) {
    let heading = "reload failed, the running configuration stays in use";
    let reason = format!("{reason:#}");
    match reason.lines().count() {
        0 | 1 => tracing::error!("{heading}: {reason}"),
        _ => log::block(tracing::Level::ERROR, heading, &reason),
    }
}

/// The text for the role of a generation.
pub(super) fn role_name(role: GenerationRole) -> &'static str {
    match role {
        GenerationRole::First => "being started",
        GenerationRole::Current => "serving",
        GenerationRole::Next => "being prepared by a reload",
        GenerationRole::TakingOver => "taking over",
        GenerationRole::Old => "leaving",
    }
}

/// The text for the state of a slot.
pub(super) fn slot_state_name(state: &SlotState) -> &'static str {
    match state {
        SlotState::Empty { .. } | SlotState::Vacant => "empty",
        SlotState::Forking { .. } => "being forked",
        SlotState::Parked { .. } => "waiting for the exit of its predecessor",
        SlotState::Starting { .. } => "starting",
        SlotState::Held { .. } => "ready, waiting for its generation",
        SlotState::Serving { .. } => "serving",
        SlotState::Leaving { .. } => "leaving",
        SlotState::Killed { .. } => "killed",
    }
}
