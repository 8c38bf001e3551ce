//! The list of all daemons of an instance, including daemons of earlier generations that still stop.

use std::time::Instant;

use crate::master::shell::command::CommandContext;
use crate::master::shell::output::Outputs;
use crate::stats::DaemonView;
use crate::sys::process::End;

use super::daemon::{ChildExit, Daemon};
use super::daemon_spec::DaemonSpec;

/// The daemons of the current generation, and the daemons of earlier generations that have not exited.
#[derive(Debug, Default)]
pub(super) struct Daemons {
    all: Vec<Daemon>,
    /// The reason to stop the instance, after a daemon with `control` has exited; `None` when the master has taken the
    /// reason.
    stop_reason: Option<String>,
}

impl Daemons {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The views of the daemons for the observer.
    pub(super) fn views(&self) -> Vec<DaemonView> {
        self.all.iter().map(Daemon::view).collect()
    }

    /// Takes the daemons of a new generation. A running daemon stays if `specs` has an equal daemon: it is restarted,
    /// unless it outlives reloads. Any other running daemon is stopped. The next [`Daemons::tick`] starts the new
    /// daemons of `specs`.
    pub(super) fn configure(&mut self, specs: Vec<DaemonSpec>, now: Instant) {
        let mut new: Vec<Option<DaemonSpec>> = specs.into_iter().map(Some).collect();
        for daemon in &mut self.all {
            let same = new.iter_mut().find(|it| it.as_ref() == Some(daemon.spec()));
            match same {
                Some(same) if !daemon.is_gone() => {
                    *same = None;
                    daemon.reload(now);
                }
                _ => daemon.stop(now),
            }
        }
        let new = new.into_iter().flatten();
        self.all.extend(new.map(|spec| Daemon::new(spec, now)));
    }

    /// Handles expired deadlines, and removes daemons that have exited for good.
    pub(super) fn tick(&mut self, context: &CommandContext, outputs: &mut Outputs, now: Instant) {
        for index in 0..self.all.len() {
            if !self.is_blocked(&self.all[index]) {
                self.all[index].tick(context, outputs, now);
            }
        }
        self.all.retain(|daemon| !daemon.is_gone());
    }

    /// Whether a daemon may not start yet, because a stopping daemon of the same name has not exited and may hold the
    /// same port or file.
    fn is_blocked(&self, daemon: &Daemon) -> bool {
        let mut others = self.all.iter();
        daemon.is_waiting()
            && others.any(|other| other.is_leaving() && other.name() == daemon.name())
    }

    /// The time at which [`Daemons::tick`] must be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let all = self.all.iter().filter(|it| !self.is_blocked(it));
        all.filter_map(Daemon::deadline).min()
    }

    /// Handles the exit of a child. Returns false if the child is not the process of a daemon.
    pub(super) fn child_exited(&mut self, end: End, outputs: &mut Outputs, now: Instant) -> bool {
        for daemon in &mut self.all {
            match daemon.child_exited(end, outputs, now) {
                ChildExit::NotOurs => {}
                ChildExit::Handled => return true,
                ChildExit::StopInstance(reason) => {
                    self.stop_reason = Some(reason);
                    return true;
                }
            }
        }
        false
    }

    /// Takes the reason to stop the instance, if a daemon with `control` has exited.
    pub(super) fn take_stop_reason(&mut self) -> Option<String> {
        self.stop_reason.take()
    }

    /// Stops all daemons except those that outlive the instance.
    pub(super) fn stop(&mut self, now: Instant) {
        for daemon in &mut self.all {
            daemon.stop(now);
        }
    }

    /// Kills all daemons except those that outlive the instance.
    pub(super) fn kill(&mut self, now: Instant) {
        for daemon in &mut self.all {
            daemon.kill(now);
        }
    }
}
