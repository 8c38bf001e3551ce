//! The emperor's record of a vassal's process: its channel, its cgroup, and its reports.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use crate::ipc::control::Answer;
use crate::ipc::{self, LoadFailure, Report, ToVassal};
use crate::sys::cgroup::Group;
use crate::sys::process::{self, Pid};
use crate::sys::user::Identity;
use crate::sys::{deferred_close, poll};

use super::heartbeat::Heartbeat;
use super::rate_limit::{MESSAGES, RateLimiter};

/// The process of a vassal. It is the vassal's master.
#[derive(Debug)]
pub(in crate::emperor) struct Process {
    pub(in crate::emperor) pid: Pid,
    /// The user that the process runs as; `None` means the emperor's user.
    pub(in crate::emperor) identity: Option<Identity>,
    /// The channel to the process; `None` if one side has closed it.
    pub(in crate::emperor) channel: Option<Channel>,
    pub(in crate::emperor) heartbeat: Heartbeat,
    /// The cgroup that the process runs in, if the emperor creates cgroups.
    pub(in crate::emperor) cgroup: Option<Group>,
    /// Why the process exits, if this is known before the exit.
    pub(in crate::emperor) exit_reason: Option<ExitReason>,
    /// The last report of the process.
    pub(in crate::emperor) report: Report,
    /// The answers to forwarded requests, with their tickets, until clients take them.
    pub(in crate::emperor) answers: VecDeque<(u32, Answer)>,
}

/// The emperor's end of the channel to a vassal.
#[derive(Debug)]
pub(in crate::emperor) struct Channel {
    /// The descriptor. It is `None` only after `drop` has taken it.
    fd: Option<OwnedFd>,
    /// Limits the rate of the vassal's messages.
    pub(in crate::emperor) rate: RateLimiter,
    /// Whether a report was requested and has not arrived.
    pub(in crate::emperor) report_requested: bool,
    /// Tickets of the forwarded requests that the vassal has not answered.
    pub(in crate::emperor) tickets: VecDeque<u32>,
}

/// Why a process exits.
#[derive(Debug)]
pub(in crate::emperor) enum ExitReason {
    /// The process had no request during the time that `idle` sets (`die-on-idle`).
    Idle,
    /// The process cannot start or cannot continue.
    Failed {
        failure: LoadFailure,
        /// Whether the emperor's log already contains the failure.
        is_logged: bool,
    },
}

impl Process {
    pub(in crate::emperor) fn new(
        pid: Pid,
        channel: OwnedFd,
        identity: Option<Identity>,
        cgroup: Option<Group>,
    ) -> Self {
        Self {
            pid,
            identity,
            channel: Some(Channel {
                fd: Some(channel),
                rate: RateLimiter::default(),
                report_requested: false,
                tickets: VecDeque::new(),
            }),
            heartbeat: Heartbeat::default(),
            cgroup,
            exit_reason: None,
            report: Report::default(),
            answers: VecDeque::new(),
        }
    }

    /// Sends an order; returns whether it was sent.
    ///
    /// A send fails if the process has exited, which the end of the channel reports too. A send also fails if the
    /// process does not read its channel. Such a process is killed at the deadline of its stop.
    pub(in crate::emperor) fn send(&self, order: ToVassal) -> bool {
        let channel = self.channel.as_ref();
        channel.is_some_and(|channel| channel.send(&order))
    }

    /// Whether the channel is readable: it has a message, or the process has closed it.
    pub(in crate::emperor) fn has_message(&self) -> bool {
        let fd = self.channel.as_ref().and_then(|channel| channel.fd());
        fd.is_some_and(poll::readable)
    }

    /// The time until which the rate limit blocks messages; `None` if the next message may be read now.
    pub(in crate::emperor) fn messages_blocked_until(&self, now: Instant) -> Option<Instant> {
        self.channel.as_ref()?.rate.blocked_until(MESSAGES, now)
    }

    /// Kills the process of the vassal `name`. In the log, `why` follows the words "killed, because".
    pub(in crate::emperor) fn kill(&mut self, name: &str, why: &str) {
        self.exit_reason = Some(ExitReason::Failed {
            failure: format!("killed, because {why}").into(),
            is_logged: false,
        });
        self.kill_now(name);
    }

    /// Kills the process of the vassal `name`, and leaves `exit_reason` as it is.
    pub(in crate::emperor) fn kill_now(&self, name: &str) {
        let pid = self.pid;
        if let Err(error) = process::kill_hard(pid) {
            tracing::error!("vassal {name} (pid {pid}): cannot be killed: {error}");
        }
    }
}

impl Channel {
    /// The descriptor to poll for messages.
    pub(in crate::emperor) fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Sends a message; returns whether it was sent.
    pub(in crate::emperor) fn send(&self, message: &impl serde::Serialize) -> bool {
        self.fd()
            .is_some_and(|fd| ipc::send(fd, message, &[]).is_ok())
    }
}

impl Drop for Channel {
    /// Closes the descriptor with `deferred_close`. Unread messages may carry descriptors, and closing those may block.
    fn drop(&mut self) {
        deferred_close::close(self.fd.take().into_iter().collect());
    }
}
