//! One record for each worker's death, by which a crash, an exit, a kill from outside and one of ours can be told
//! apart; and the lines of the request log that the worker cannot write any more.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::Instant;

use crate::exit;
use crate::log::request_log::{LoggedRequest, Outcome, RequestLog, RequestLogSettings, Served};
use crate::log::{self, counted};
use crate::sys::oom::OomScope;
use crate::sys::process::{End, Exit};
use crate::sys::signal::Signal;

use super::report::{RequestInFlight, next_fork};
use super::slot::SlotState;
use super::worker_slot::RemovalReason;

/// What is known of a death.
pub(super) struct Death {
    /// The worker's number.
    pub(super) number: u32,
    /// Its slot before and after.
    pub(super) before: SlotState,
    pub(super) after: SlotState,
    pub(super) end: End,
    /// Requests it had begun.
    pub(super) requests: u64,
    pub(super) removal: Option<RemovalReason>,
    /// Requests it was working on.
    pub(super) lost: Vec<RequestInFlight>,
    /// Whether the kernel has killed for want of memory meanwhile.
    pub(super) want: OomScope,
    /// The stacks of its threads, as they were written last.
    pub(super) stacks: Option<String>,
}

/// The most that is shown of stacks, bytes.
const STACKS_MOST: u64 = 64 << 10;

/// Reads what a worker has written of its stacks.
pub(super) fn stacks(mut file: File) -> Option<String> {
    file.seek(SeekFrom::Start(0)).ok()?;
    let mut text = Vec::new();
    file.take(STACKS_MOST).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned()).filter(|text| !text.trim().is_empty())
}

/// How a death is judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// It was told to leave, and left.
    Left,
    /// It was told to leave, and something else ended it.
    WhileLeaving,
    /// We killed it because of a request.
    Harakiri,
    /// We killed it because of its size.
    Evil,
    /// We killed it because an operator wanted it.
    Unwanted,
    /// It never served.
    Stillborn,
    /// By itself or by somebody else.
    Sudden,
}

fn kind(death: &Death) -> Kind {
    let asked = matches!(
        death.before,
        SlotState::Leaving { .. } | SlotState::Killed { .. }
    );
    let killed = matches!(death.before, SlotState::Killed { .. });
    match death.end.exit {
        _ if killed && matches!(death.removal, Some(RemovalReason::Harakiri { .. })) => {
            Kind::Harakiri
        }
        _ if killed && matches!(death.removal, Some(RemovalReason::OverLimit(_))) => Kind::Evil,
        _ if killed && death.removal == Some(RemovalReason::Operator) => Kind::Unwanted,
        Exit::Status(exit::OK | exit::RETIRED) if asked => Kind::Left,
        _ if asked => Kind::WhileLeaving,
        _ if matches!(death.before, SlotState::Starting { .. }) => Kind::Stillborn,
        _ => Kind::Sudden,
    }
}

/// Writes the record.
pub(super) fn record(death: &Death, now: Instant) {
    let Some(worker) = death.before.worker() else {
        return;
    };
    let kind = kind(death);
    let mut line = format!("worker {} (pid {}): ", death.number, worker.pid);
    // writing to a string cannot fail
    let _ = write!(
        line,
        "{} {} {:.1} s and {}, with {} MiB at most",
        match kind {
            Kind::Left => "left as asked".to_owned(),
            _ => death.end.exit.to_string(),
        },
        if kind == Kind::Stillborn {
            "before it could serve, after"
        } else {
            "after"
        },
        now.duration_since(worker.since).as_secs_f64(),
        counted(death.requests, "request"),
        death.end.peak >> 20,
    );
    line.push_str(reason(kind, death.end.exit, death.want));
    for (index, lost) in death.lost.iter().enumerate() {
        line.push_str(if index == 0 {
            "; it was in "
        } else {
            " and in "
        });
        let _ = write!(
            line,
            "{lost} ({:.1} s, thread {})",
            lost.age.as_secs_f64(),
            lost.thread
        );
    }
    line.push_str(&next_fork(&death.after, now));
    if let Some(stacks) = telling_stacks(kind, death) {
        line.push_str("; the stacks of its threads:");
        return log::block(tracing::Level::ERROR, &line, stacks);
    }
    match kind {
        Kind::Left | Kind::WhileLeaving if death.lost.is_empty() => tracing::info!("{line}"),
        Kind::WhileLeaving | Kind::Unwanted => tracing::warn!("{line}"),
        _ => tracing::error!("{line}"),
    }
}

/// The stacks, where they belong to this death: to a request that did not end, or to a crash.
fn telling_stacks(kind: Kind, death: &Death) -> Option<&str> {
    let stacks = death.stacks.as_deref()?;
    let crash = stacks.rfind("Fatal Python error");
    match (kind, death.end.exit) {
        (Kind::Harakiri, _) => Some(stacks),
        (_, Exit::Signal(_)) => crash.map(|at| &stacks[at..]),
        _ => None,
    }
}

fn reason(kind: Kind, exit: Exit, want: OomScope) -> &'static str {
    let signal = match exit {
        Exit::Signal(number) => Signal::try_from(number).ok(),
        Exit::Status(_) => None,
    };
    match (kind, signal) {
        (Kind::Left, _) => "",
        (Kind::WhileLeaving, _) => ", as it had to leave",
        (Kind::Harakiri, _) => ", by its master, because a request did not end (harakiri)",
        (Kind::Evil, _) => {
            ", by its master, because it had grown too large (evil-reload-on-rss, evil-reload-on-as)"
        }
        (Kind::Unwanted, _) => ", by its master, because that was asked for (kill-worker)",
        (_, Some(Signal::SIGKILL)) => match want {
            OomScope::Cgroup => {
                ", not by its master: the kernel's kill, because the memory of its cgroup was used up"
            }
            OomScope::Machine => {
                ", not by its master: the kernel's kill, it seems, because the machine's memory was used up (see dmesg)"
            }
            OomScope::None => ", not by its master: somebody else's kill",
            OomScope::Unknown => {
                ", not by its master: somebody else's kill, or the kernel for want of memory (see dmesg)"
            }
        },
        (_, Some(Signal::SIGSEGV | Signal::SIGBUS | Signal::SIGILL | Signal::SIGFPE)) => {
            ": native code crashed, an extension module most likely"
        }
        (_, Some(Signal::SIGABRT)) => ": native code gave up",
        (_, Some(_)) => "",
        (_, None) => ": the application ended it",
    }
}

/// Writes the request log's lines of the requests that ended with the worker.
pub(super) fn log_requests(death: &Death, total: u64, settings: &RequestLogSettings) {
    let Some(worker) = death.before.worker() else {
        return;
    };
    let Some(mut log) = RequestLog::new(settings, worker.pid) else {
        return;
    };
    let cause = match kind(death) {
        Kind::Harakiri => " (harakiri)",
        _ => "",
    };
    let remark = format!(" killed: the worker {}{cause}", death.end.exit);
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
        log.write(lost, &served);
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
