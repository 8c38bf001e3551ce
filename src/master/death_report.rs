//! Logs the exit of a worker: a crash, an exit by the application, or a kill by the master or by another process. Also
//! writes the request lines that the worker can no longer write.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use crate::exit;
use crate::log::request_log::{LoggedRequest, Outcome, RequestLog, RequestLogSettings, Served};
use crate::log::{self, counted, request_log};
use crate::sys::oom::OomScope;
use crate::sys::process::{End, Exit, Pid};
use crate::sys::signal::Signal;

use super::report::{RequestInFlight, next_fork};
use super::slot::SlotState;
use super::worker_slot::RemovalReason;

/// The facts about the exit of a worker.
pub(super) struct Death {
    /// The worker's number.
    pub(super) number: u32,
    /// The state of its slot before the exit.
    pub(super) before: SlotState,
    /// The state of its slot after the exit.
    pub(super) after: SlotState,
    pub(super) end: End,
    /// Number of requests that the worker had begun.
    pub(super) requests: u64,
    /// Why the master removed the worker; `None` if the master did not remove it.
    pub(super) removal: Option<RemovalReason>,
    /// The requests in flight at the exit.
    pub(super) lost: Vec<RequestInFlight>,
    /// Whether the kernel's OOM killer may have killed the worker, and whether the cgroup or the machine was out of
    /// memory.
    pub(super) oom: OomScope,
    /// The stacks of its threads that the worker wrote last.
    pub(super) stacks: Option<String>,
}

/// Maximum number of bytes of stacks in a record.
const MAX_STACKS: u64 = 64 << 10;

/// Reads the stacks that a worker has written; `None` if the worker has written none.
pub(super) fn stacks(mut file: File) -> Option<String> {
    file.seek(SeekFrom::Start(0)).ok()?;
    let mut text = Vec::new();
    file.take(MAX_STACKS).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned()).filter(|text| !text.trim().is_empty())
}

/// The cause of a worker's exit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cause {
    /// The worker exited because the master requested it.
    Requested,
    /// The worker crashed or was killed while it exited on request of the master.
    DuringExit,
    /// The master killed the worker: a request exceeded its deadline.
    Harakiri,
    /// The master killed the worker: it exceeded a memory limit.
    MemoryLimit,
    /// The master killed the worker on request of an operator.
    Operator,
    /// The worker exited before it was ready.
    BeforeReady,
    /// The worker exited by itself, or another process killed it.
    Unexpected,
}

fn cause(death: &Death) -> Cause {
    if let (SlotState::Killed { .. }, Some(removal)) = (&death.before, &death.removal) {
        match removal {
            RemovalReason::Harakiri { .. } => return Cause::Harakiri,
            RemovalReason::OverLimit(_) => return Cause::MemoryLimit,
            RemovalReason::Operator => return Cause::Operator,
            RemovalReason::Recycled(_) => {}
        }
    }
    match (&death.before, death.end.exit) {
        (
            SlotState::Leaving { .. } | SlotState::Killed { .. },
            Exit::Status(exit::OK | exit::RETIRED),
        ) => Cause::Requested,
        (SlotState::Leaving { .. } | SlotState::Killed { .. }, _) => Cause::DuringExit,
        (SlotState::Parked { .. } | SlotState::Starting { .. }, _) => Cause::BeforeReady,
        _ => Cause::Unexpected,
    }
}

/// Logs the exit of a worker: the exit status, the age, the cause, the requests in flight, and the stacks of its
/// threads if they explain the exit.
pub(super) fn record(death: &Death, now: Instant) {
    let Some(worker) = death.before.worker() else {
        return;
    };
    let cause = cause(death);
    let line = sentence(death, cause, worker.pid, now.duration_since(worker.since))
        + &next_fork(&death.after, now);
    if let Some(stacks) = relevant_stacks(cause, death) {
        let heading = format!("{line}; stacks of its threads:");
        return log::block(tracing::Level::ERROR, &heading, stacks);
    }
    match cause {
        Cause::Requested | Cause::DuringExit if death.lost.is_empty() => tracing::info!("{line}"),
        Cause::DuringExit | Cause::Operator => tracing::warn!("{line}"),
        _ => tracing::error!("{line}"),
    }
}

fn sentence(death: &Death, cause: Cause, pid: Pid, age: Duration) -> String {
    let exit = match cause {
        Cause::Requested => "exited as requested".to_owned(),
        _ => death.end.exit.to_string(),
    };
    let when = match cause {
        Cause::BeforeReady => "before it was ready, after",
        _ => "after",
    };
    let mut line = format!(
        "worker {} (pid {pid}): {exit} {when} {:.1} s and {} (peak memory {} MiB)",
        death.number,
        age.as_secs_f64(),
        counted(death.requests, "request"),
        death.end.peak >> 20,
    );
    line.push_str(reason(cause, death.end.exit, death.oom));
    for (index, lost) in death.lost.iter().enumerate() {
        line.push_str(match index {
            0 => "; in flight: ",
            _ => ", ",
        });
        // writing to a string cannot fail
        let _ = write!(
            line,
            "{lost} ({:.1} s, thread {})",
            lost.age.as_secs_f64(),
            lost.thread
        );
    }
    line
}

/// The stacks, if they explain this exit. They do so after a request over its deadline, and after a crash.
fn relevant_stacks(cause: Cause, death: &Death) -> Option<&str> {
    let stacks = death.stacks.as_deref()?;
    let crash = stacks.rfind("Fatal Python error");
    match (cause, death.end.exit) {
        (Cause::Harakiri, _) => Some(stacks),
        (_, Exit::Signal(_)) => crash.map(|at| &stacks[at..]),
        _ => None,
    }
}

/// The reason of an exit, as the end of the log sentence; empty if there is nothing to add.
fn reason(cause: Cause, exit: Exit, oom: OomScope) -> &'static str {
    let signal = match exit {
        Exit::Signal(number) => Signal::try_from(number).ok(),
        Exit::Status(_) => None,
    };
    match (cause, signal) {
        (Cause::Requested, _) => "",
        (Cause::DuringExit, _) => ", while it was exiting",
        (Cause::Harakiri, _) => ", by its master: a request exceeded its deadline (harakiri)",
        (Cause::MemoryLimit, _) => {
            ", by its master: it exceeded a memory limit (evil-reload-on-rss, evil-reload-on-as)"
        }
        (Cause::Operator, _) => ", by its master: requested by an operator (kill-worker)",
        (_, Some(Signal::SIGKILL)) => match oom {
            OomScope::Cgroup => ", by the kernel's OOM killer: its cgroup has reached memory.max",
            OomScope::Machine => {
                ", probably by the kernel's OOM killer: the machine was out of memory (see dmesg)"
            }
            OomScope::None => ", not by its master: another process sent the signal",
            OomScope::Unknown => {
                ", not by its master: by another process or the kernel's OOM killer (see dmesg)"
            }
        },
        (_, Some(Signal::SIGSEGV | Signal::SIGBUS | Signal::SIGILL | Signal::SIGFPE)) => {
            ": native code crashed, probably in an extension module"
        }
        (_, Some(Signal::SIGABRT)) => ": native code called abort(3)",
        (_, Some(_)) => "",
        (_, None) => ": the application ended the process",
    }
}

/// Writes a line to the request log for each request that ended with the worker.
pub(super) fn log_requests(death: &Death, total: u64, settings: &RequestLogSettings) {
    let Some(worker) = death.before.worker() else {
        return;
    };
    let Some(mut log) = RequestLog::new(settings, worker.pid) else {
        return;
    };
    let suffix = match cause(death) {
        Cause::Harakiri => " (harakiri)",
        _ => "",
    };
    let remark = format!(" killed: the worker {}{suffix}", death.end.exit);
    for lost in &death.lost {
        let outcome = Outcome {
            status: if lost.expired { 504 } else { 502 },
            micros: u64::try_from(lost.age.as_micros()).unwrap_or(u64::MAX),
            ..Outcome::default()
        };
        if !log.selects(&outcome) {
            continue;
        }
        let served = Served {
            app: 0,
            worker: death.number,
            worker_requests: death.requests,
            total_requests: total,
            remote_addr: b"",
            outcome,
            headers: 0,
            blocks: 0,
            core: lost.thread,
            remark: &remark,
        };
        if !log.send_to_journal(lost, &served) {
            request_log::write(log.line(lost, &served));
        }
    }
}

/// The scoreboard holds a request's method, URI and client address; its other variables are lost with the worker.
impl LoggedRequest for RequestInFlight {
    fn method(&self) -> &[u8] {
        let (request, _) = self.parts();
        request
            .split(|byte| *byte == b' ')
            .next()
            .unwrap_or_default()
    }

    fn uri(&self) -> &[u8] {
        let (request, _) = self.parts();
        let space = request.iter().position(|byte| *byte == b' ');
        space.map_or(&[], |at| &request[at + 1..])
    }

    fn protocol(&self) -> &[u8] {
        b"HTTP/1.1"
    }

    fn remote_user(&self) -> &[u8] {
        b""
    }

    fn remote_addr(&self) -> Option<&[u8]> {
        Some(self.parts().1)
    }

    fn content_length(&self) -> &[u8] {
        b""
    }

    fn variable(&self, _: &[u8]) -> Option<&[u8]> {
        None
    }

    fn variable_count(&self) -> usize {
        self.vars as usize
    }

    fn block_len(&self) -> usize {
        self.block as usize
    }

    fn modifiers(&self) -> (u8, u8) {
        (0, 0)
    }
}
