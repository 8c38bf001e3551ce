//! Handles the exit of a vassal's process.

use std::time::Instant;

use crate::ipc::LoadFailure;
use crate::sys::cgroup::Group;
use crate::sys::process::{Exit, Pid};

use super::cgroups;
use super::policy::Policy;
use super::vassal::{Event, ExitReason, Process, State, Vassal};

/// Maximum messages read from an exited vassal; a descendant may still hold the channel and send more.
const MAX_LAST_MESSAGES: usize = 64;

/// The activity of a process at the time of its exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Serving,
    Stopping,
}

impl Vassal {
    /// Handles the exit of the vassal's process `pid`: reads its last messages, changes the state and logs the exit.
    pub(super) fn on_exit(&mut self, pid: Pid, exit: Exit, now: Instant, policy: &Policy) {
        for _ in 0..MAX_LAST_MESSAGES {
            let process = self.state.process();
            if !process.is_some_and(Process::has_message) {
                break;
            }
            self.receive_message(now, policy);
        }
        let phase = match self.state {
            State::Starting(_) => Phase::Starting,
            State::Stopping(_) => Phase::Stopping,
            _ => Phase::Serving,
        };
        if phase == Phase::Stopping {
            // a killed process has not removed the files of its sockets
            self.release_sockets();
        }
        let process = self.state.process_mut();
        let (reason, cgroup) = process.map_or((None, None), |process| {
            (process.exit_reason.take(), process.cgroup.take())
        });
        let is_idle = matches!(reason, Some(ExitReason::Idle))
            && exit == Exit::Status(0)
            && !self.sockets.is_empty();
        let out_of_memory = cgroup.as_ref().map(|cgroup| out_of_memory(cgroup, exit));
        let event = match is_idle {
            true => Event::ExitedIdle,
            false => Event::Exited,
        };
        self.apply(event, now, policy);
        if let Some(cgroup) = cgroup {
            self.leave_cgroup(&cgroup);
        }
        let name = self.name();
        if phase == Phase::Stopping {
            tracing::info!("vassal {name} (pid {pid}): stopped");
            self.problem = None;
        } else if is_idle {
            tracing::info!(
                "vassal {name} (pid {pid}): stopped, because it was idle (die-on-idle); on demand again"
            );
            self.problem = None;
        } else {
            let oom = out_of_memory.unwrap_or_default();
            let (failure, is_logged) = failure(reason, phase, exit, &oom);
            let shown = match is_logged {
                true => "failed, as logged above",
                false => failure.sentence.as_str(),
            };
            tracing::error!("vassal {name} (pid {pid}): {shown}{}", self.next_start(now));
            self.problem = Some(failure);
        }
    }

    /// Removes the cgroup of an exited process. If the cgroup still contains other processes, such as smart daemons,
    /// the cgroup stays with its limits. The next process of the vassal joins it.
    fn leave_cgroup(&self, cgroup: &Group) {
        let name = self.name();
        match cgroup.remove() {
            Ok(false) if matches!(self.state, State::Gone | State::Stopped) => {
                tracing::info!(
                    "vassal {name}: its cgroup {} stays: {}",
                    cgroup.directory().display(),
                    cgroups::remaining_processes(cgroup)
                );
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!("vassal {name}: its cgroup cannot be removed: {error}");
            }
        }
    }
}

/// The failure that describes an unexpected exit, and whether the log already contains it.
fn failure(
    reason: Option<ExitReason>,
    phase: Phase,
    exit: Exit,
    out_of_memory: &str,
) -> (LoadFailure, bool) {
    let sentence = match (reason, phase) {
        (Some(ExitReason::Failed { failure, is_logged }), _) => return (failure, is_logged),
        (Some(ExitReason::Idle), _) => "exited, because it was idle (die-on-idle)".to_owned(),
        (None, Phase::Starting) => format!("{exit} before it was ready{out_of_memory}"),
        (None, _) => format!("{exit} unexpectedly{out_of_memory}"),
    };
    (sentence.into(), false)
}

/// The end of the log message about a process that was killed while the kernel's OOM killer was active in its cgroup;
/// empty for any other exit.
fn out_of_memory(cgroup: &Group, exit: Exit) -> String {
    let kills = cgroup.kills();
    match exit {
        Exit::Signal(nix::libc::SIGKILL) if kills > 0 => format!(
            "; killed by the kernel's OOM killer (cgroup-memory-max; {kills} kills in this cgroup)"
        ),
        _ => String::new(),
    }
}
