//! The status of a vassal, as `ruwsgi ls` and `ruwsgi status` show it.

use std::time::Instant;

use crate::ipc::control::Request;
use crate::sys::process::Pid;

use super::cgroups;
use super::vassal::{Reload, State, Vassal};

impl Vassal {
    /// The user id of the owner of the vassal's file.
    pub(super) fn owner(&self) -> Option<u32> {
        self.owner_and_group().map(|(user, _)| user)
    }

    /// The user id and the group id of the owner of the vassal's file.
    pub(super) fn owner_and_group(&self) -> Option<(u32, u32)> {
        self.file.stamp().map(|stamp| stamp.owner)
    }

    /// The modification time of the vassal's file, in seconds since 1970; 0 if there is no file.
    pub(super) fn modified(&self) -> i64 {
        self.file.stamp().map_or(0, |stamp| stamp.modified())
    }

    /// The usage and the limits of the vassal's cgroup, as text.
    pub(super) fn cgroup_usage(&self) -> Option<String> {
        cgroups::usage(self.state.process()?.cgroup.as_ref()?)
    }

    /// Whether a request names this vassal: by the process id of its master, its name, its name without the extension,
    /// its section or its path.
    pub(super) fn matches(&self, request: &Request) -> bool {
        match (&request.name, request.pid) {
            (Some(name), _) => self.definition.is_called(name),
            (None, pid) => pid.is_some() && pid == self.pid().map(Pid::get),
        }
    }

    /// The vassal's state as one line for the log.
    pub(super) fn log_line(&self, now: Instant) -> String {
        let name = self.name();
        let pid = self.pid().map_or(0, Pid::get);
        let state = match self.state {
            State::Scheduled(_) => format!("no process{}", self.next_start(now)),
            State::Starting(_) => format!("starting (pid {pid})"),
            State::Ready(_) => format!("ready (pid {pid})"),
            State::Stopping(_) => format!("stopping (pid {pid})"),
            State::OnDemand => format!("on demand at {}", self.sockets.addresses()),
            State::Stopped => "stopped".to_owned(),
            State::Refused => "not started".to_owned(),
            State::Gone => "gone".to_owned(),
        };
        match &self.problem {
            Some(problem) => format!("vassal {name}: {state}: {}", problem.sentence),
            None => format!("vassal {name}: {state}"),
        }
    }

    /// Whether no start, reload or stop is in progress. A vassal that waits for the next attempt after a failure counts
    /// as settled.
    pub(super) fn is_settled(&self) -> bool {
        match &self.state {
            State::Ready(ready) => ready.reload == Reload::None,
            State::Scheduled(scheduled) => scheduled.failures > 0,
            State::Starting(_) | State::Stopping(_) => false,
            State::OnDemand | State::Stopped | State::Refused | State::Gone => true,
        }
    }
}
