//! One daemon (`attach-daemon` and related options): performs the actions that `daemon_state.rs` decides.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::master::shell::command::{
    CommandContext, ShellCommand, leader_is_program, signal_group,
};
use crate::master::shell::leash::Leash;
use crate::master::shell::output::Outputs;
use crate::process::pidfile;
use crate::stats::DaemonView;
use crate::sys::process::{self, End, Exit, Pid};
use crate::sys::signal::Signal;
use crate::watch::PollWatch;

use super::daemon_spec::DaemonSpec;
use super::daemon_state::{self, Action, Event, Policy, State};

/// If a command exits with status 0 within this time, it has probably gone to the background.
const BACKGROUND_SUSPECTED: Duration = Duration::from_secs(1);

/// A daemon and its process.
#[derive(Debug)]
pub(super) struct Daemon {
    spec: DaemonSpec,
    state: State,
    /// The time of the last spawn of the command.
    since: Instant,
    /// Number of processes that were spawned.
    spawns: u32,
    leash: Option<Leash>,
    touches: PollWatch,
    /// The signal that stops the daemon: `stopsignal`, or `reloadsignal` for a restart by a reload.
    stop_signal: Signal,
}

/// The result of a child's exit for a daemon.
#[derive(Debug)]
pub(super) enum ChildExit {
    /// The child is not this daemon's process.
    NotOurs,
    /// The child was this daemon's process, and the daemon has handled the exit.
    Handled,
    /// The child was the process of a daemon with `control`. The instance stops for this reason.
    StopInstance(String),
}

impl Daemon {
    /// Creates a daemon that the next [`Daemon::tick`] starts.
    pub(super) fn new(spec: DaemonSpec, now: Instant) -> Self {
        let mut touches = PollWatch::default();
        touches.watch(spec.settings.touch.iter(), now);
        Self {
            stop_signal: signal(spec.settings.stop_signal),
            state: State::new(now),
            since: now,
            spawns: 0,
            leash: None,
            touches,
            spec,
        }
    }

    pub(super) fn spec(&self) -> &DaemonSpec {
        &self.spec
    }

    pub(super) fn name(&self) -> &str {
        &self.spec.settings.name
    }

    /// The view of the daemon for the observer.
    pub(super) fn view(&self) -> DaemonView {
        let pid = match self.state {
            State::Monitored { pid, .. } => Some(pid),
            _ => self.state.child(),
        };
        DaemonView {
            command: self.spec.settings.command.clone(),
            pid: pid.map_or(0, Pid::get),
            respawns: self.spawns.saturating_sub(1),
        }
    }

    /// Whether the daemon is stopped for good and can be removed from the list.
    pub(super) fn is_gone(&self) -> bool {
        self.state == State::Gone
    }

    /// Whether the daemon stops and is removed after its exit.
    pub(super) fn is_leaving(&self) -> bool {
        self.state.is_leaving()
    }

    /// Whether the daemon has no process and is due to be started.
    pub(super) fn is_waiting(&self) -> bool {
        self.state.is_waiting()
    }

    /// The time at which [`Daemon::tick`] must be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.state.deadline(), self.touches.deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Handles touched files and expired deadlines: starts, kills or checks the daemon's process as needed.
    pub(super) fn tick(&mut self, context: &CommandContext, outputs: &mut Outputs, now: Instant) {
        if let Some(path) = self.touches.changed(now) {
            tracing::info!(
                "service {}: {} was touched, restarting",
                self.name(),
                path.display()
            );
            self.stop_signal = signal(self.spec.settings.stop_signal);
            self.handle(Event::Restart, now);
        }
        if self.state.child().is_none() && !matches!(self.state, State::Draining { .. }) {
            self.leash = None;
        }
        let mut action = self.step(Event::Tick, now);
        if action == Action::CheckPidfile {
            let found = self.find_by_pidfile(context);
            action = self.step(Event::PidfileChecked(found), now);
        }
        match action {
            Action::CheckGroup(pid) if process::group_lives(pid) => {
                self.handle(Event::GroupAlive, now);
            }
            Action::CheckGroup(_) => self.handle(Event::Exited(Exit::Status(0)), now),
            Action::Spawn => self.spawn(context, outputs, now),
            action => self.perform(action),
        }
    }

    /// Handles a reload of the instance: restarts the daemon. A daemon with a pidfile outlives reloads. It gets a
    /// signal instead if it has `notifypid`.
    pub(super) fn reload(&mut self, now: Instant) {
        let settings = &self.spec.settings;
        let reload_signal = settings.reload_signal.map(signal);
        if settings.pidfile.is_some() {
            return self.notify(reload_signal.unwrap_or(Signal::SIGHUP));
        }
        self.stop_signal = reload_signal.unwrap_or(signal(settings.stop_signal));
        self.handle(Event::Restart, now);
    }

    /// Stops the daemon for good, unless it outlives the instance.
    pub(super) fn stop(&mut self, now: Instant) {
        self.leave(Event::Stop, now);
    }

    /// Kills the daemon for good, unless it outlives the instance.
    pub(super) fn kill(&mut self, now: Instant) {
        self.leave(Event::Kill, now);
    }

    fn leave(&mut self, event: Event, now: Instant) {
        self.stop_signal = signal(self.spec.settings.stop_signal);
        self.notify(self.stop_signal);
        self.handle(event, now);
    }

    /// Handles the exit of a child of the master. Logs the exit of the daemon's process. Kills the rest of its process
    /// group, unless the daemon has a pidfile or the group has time left to stop.
    pub(super) fn child_exited(
        &mut self,
        end: End,
        outputs: &mut Outputs,
        now: Instant,
    ) -> ChildExit {
        if matches!(self.state, State::Monitored { pid, .. } if pid == end.pid) {
            self.handle(Event::Exited(end.exit), now);
            return ChildExit::Handled;
        }
        if self.state.child() != Some(end.pid) {
            return ChildExit::NotOurs;
        }
        outputs.command_exited(end.pid);
        let was_stopped = !matches!(self.state, State::Running { .. });
        if matches!(self.state, State::Stopping { .. }) && process::group_lives(end.pid) {
            self.handle(Event::GroupAlive, now);
        } else {
            if self.spec.settings.pidfile.is_none() {
                self.signal_group(end.pid, Signal::SIGKILL);
            }
            self.handle(Event::Exited(end.exit), now);
        }
        let age = now - self.since;
        let message = format!(
            "service {} (pid {}): {} after {:.1} s",
            self.name(),
            end.pid,
            end.exit,
            age.as_secs_f64()
        );
        if was_stopped {
            tracing::info!("{message}");
        } else if self.spec.settings.control {
            self.state = State::Gone;
            return ChildExit::StopInstance(message);
        } else {
            self.log_unexpected_exit(&message, end.exit, age, now);
        }
        ChildExit::Handled
    }

    fn log_unexpected_exit(&self, message: &str, exit: Exit, age: Duration, now: Instant) {
        let has_pidfile = self.spec.settings.pidfile.is_some();
        let restart = self.describe_restart(now);
        match exit {
            Exit::Status(0) if has_pidfile => {
                tracing::info!("{message}; checking its pidfile next");
            }
            Exit::Status(0) if age < BACKGROUND_SUSPECTED => tracing::warn!(
                "{message}{restart}; a service must stay in the foreground or have a pidfile (smart-attach-daemon)"
            ),
            _ => tracing::warn!("{message}{restart}"),
        }
    }

    /// Returns the end of a log message that says when the daemon is restarted; empty if the daemon is not restarted.
    fn describe_restart(&self, now: Instant) -> String {
        match self.state {
            State::Waiting { due, .. } if due > now => {
                format!("; restarting in {:.1} s", (due - now).as_secs_f64())
            }
            State::Waiting { .. } => "; restarting".to_owned(),
            _ => String::new(),
        }
    }

    fn policy(&self) -> Policy {
        let settings = &self.spec.settings;
        Policy {
            has_pidfile: settings.pidfile.is_some(),
            pidfile_interval: settings.freq,
            max_backoff: settings.max_throttle,
            mercy: settings.mercy,
        }
    }

    fn step(&mut self, event: Event, now: Instant) -> Action {
        let action;
        (self.state, action) = daemon_state::step(self.state, event, now, &self.policy());
        action
    }

    /// Steps the state and performs the resulting action. Spawns and checks are not performed here, only in
    /// [`Daemon::tick`].
    fn handle(&mut self, event: Event, now: Instant) {
        let action = self.step(event, now);
        self.perform(action);
    }

    fn perform(&self, action: Action) {
        let name = self.name();
        match action {
            Action::None | Action::Spawn | Action::CheckPidfile | Action::CheckGroup(_) => {}
            Action::Stop(pid) => self.send_stop_signal(pid),
            Action::Kill(pid) => {
                tracing::warn!("service {name} (pid {pid}): killed");
                self.signal_group(pid, Signal::SIGKILL);
            }
            Action::KillOverdue(pid) => {
                let mercy = self.spec.settings.mercy.as_secs_f64();
                tracing::warn!(
                    "service {name} (pid {pid}): killed: did not stop within {mercy:.1} s (mercy)"
                );
                self.signal_group(pid, Signal::SIGKILL);
            }
        }
    }

    /// Sends the stop signal to the program only, or to the whole process group. The group gets the signal if its
    /// leader is a shell, which does not pass signals on, or if its leader has exited.
    fn send_stop_signal(&self, pid: Pid) {
        let (name, signal) = (self.name(), self.stop_signal);
        match self.state {
            State::Draining { .. } => {
                tracing::info!(
                    "service {name}: sending {signal} to the rest of process group {pid}"
                );
                self.signal_group(pid, signal);
            }
            // the master does not know the process group of a process that it found through the pidfile
            State::Monitored { .. } => {
                tracing::info!("service {name} (pid {pid}): stopping with {signal}");
                self.send(pid, signal);
            }
            // only the program gets the signal, because it stops its own children: a Celery worker lets them finish
            // their tasks
            _ if leader_is_program(&self.spec.settings.command) => {
                tracing::info!("service {name} (pid {pid}): stopping with {signal}");
                self.send(pid, signal);
            }
            _ => {
                tracing::info!("service {name} (pid {pid}): stopping with {signal}");
                self.signal_group(pid, signal);
            }
        }
    }

    fn send(&self, pid: Pid, signal: Signal) {
        if let Err(error) = process::signal(pid, signal) {
            tracing::warn!(
                "service {} (pid {pid}): cannot send {signal}: {error}",
                self.name()
            );
        }
    }

    fn signal_group(&self, leader: Pid, signal: Signal) {
        signal_group(&format!("service {}", self.name()), leader, signal);
    }

    /// Sends a signal to the daemon's process if the daemon outlives the instance and has `notifypid`.
    fn notify(&self, signal: Signal) {
        let settings = &self.spec.settings;
        if let State::Monitored { pid, .. } | State::Running { pid, .. } = self.state
            && settings.pidfile.is_some()
            && settings.notify
        {
            self.send(pid, signal);
        }
    }

    fn spawn(&mut self, context: &CommandContext, outputs: &mut Outputs, now: Instant) {
        let settings = &self.spec.settings;
        let command = ShellCommand {
            name: &settings.name,
            line: &settings.command,
            directory: settings.chdir.as_deref().map(Path::new),
            inherits_stdin: settings.stdin,
            identity: self.spec.identity.as_ref(),
        };
        let stop_signal = signal(settings.stop_signal);
        let spawned = match settings.pidfile {
            Some(_) => command.spawn_detached(context),
            None => command.spawn(context, stop_signal, outputs),
        };
        self.since = now;
        match spawned {
            Ok(pid) => {
                self.spawns = self.spawns.saturating_add(1);
                if settings.pidfile.is_none() {
                    self.leash = Some(Leash::new(pid, stop_signal, &settings.command));
                }
                tracing::info!("service {} (pid {pid}): started", self.name());
                self.write_pidfile(pid, context);
                self.handle(Event::Spawned(pid), now);
            }
            Err(error) => {
                self.handle(Event::SpawnFailed, now);
                let restart = self.describe_restart(now);
                tracing::error!("service {}: cannot start: {error}{restart}", self.name());
            }
        }
    }

    fn pidfile(&self, context: &CommandContext) -> Option<PathBuf> {
        let path = self.spec.settings.pidfile.as_deref()?;
        Some(context.directory.join(path))
    }

    /// Writes the pidfile if the command does not write the pidfile itself. Logs an error on failure.
    fn write_pidfile(&self, pid: Pid, context: &CommandContext) {
        if !self.spec.settings.writes_no_pidfile {
            return;
        }
        if let Some(path) = self.pidfile(context)
            && let Err(error) = pidfile::write(&path, pid)
        {
            tracing::error!("service {}: {error}", self.name());
        }
    }

    /// Returns the live process that the pidfile names. Logs a process that is found for the first time or has exited.
    fn find_by_pidfile(&self, context: &CommandContext) -> Option<Pid> {
        let path = self.pidfile(context)?;
        let record = pidfile::read(&path).ok()?;
        let pid = record.pid;
        let is_known = matches!(self.state, State::Monitored { pid: known, .. } if known == pid);
        // a pidfile from before a reboot, or from another container, may hold the master's pid
        let lives = pid != Pid::own()
            && process::lives(pid)
            && pidfile::is_trusted(&path, &record)
            && !pidfile::names_another(&path, pid, self.name());
        let name = self.name();
        match (lives, is_known) {
            (true, false) => tracing::info!("service {name} (pid {pid}): already running"),
            (false, true) => tracing::warn!("service {name} (pid {pid}): exited; restarting"),
            _ => {}
        }
        lives.then_some(pid)
    }
}

/// Converts a signal number, which the check of the configuration has accepted.
fn signal(number: i32) -> Signal {
    Signal::try_from(number).unwrap_or(Signal::SIGTERM)
}
