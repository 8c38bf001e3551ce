//! The runner: a queue of hooks that are performed one after another without blocking.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::Action;
use crate::log;
use crate::master::shell::command::{CommandContext, ShellCommand, signal_group};
use crate::master::shell::output::Outputs;
use crate::sys::process::{End, Exit, Pid};
use crate::sys::signal::Signal;

use super::action::{describe, perform};
use super::phase::Hook;
use super::wait_for::is_available;

/// Default timeout of the `wait_for_*` actions, as in uWSGI.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Interval between two checks of a `wait_for_*` condition.
const WAIT_INTERVAL: Duration = Duration::from_millis(100);

/// The progress of a queue of hooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::master) enum Progress {
    /// A hook has started and not ended.
    Running,
    /// The queue is empty.
    Done,
    /// A hook failed for this reason. The following hooks were dropped.
    Failed(String),
    /// A hook requested that the instance exits with this status.
    Exit(i32),
}

/// Performs queued hooks one after another.
#[derive(Debug, Default)]
pub(in crate::master) struct Runner {
    queue: VecDeque<Hook>,
    current: Option<Current>,
    time_limit: Option<TimeLimit>,
    on_failure: OnFailure,
    /// The result that [`Runner::advance`] returns next.
    result: Option<Progress>,
}

/// The response to a failed hook.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum OnFailure {
    /// The remaining hooks are dropped, and [`Runner::advance`] returns [`Progress::Failed`].
    #[default]
    Abort,
    /// A warning is logged and the next hook runs.
    Continue,
}

/// Limit on the total run time of the queue (`hook-harakiri`).
#[derive(Clone, Copy, Debug)]
struct TimeLimit {
    deadline: Instant,
    limit: Duration,
}

/// The hook that has started and not ended.
#[derive(Debug)]
enum Current {
    /// A command runs as a child process.
    Command {
        pid: Pid,
        since: Instant,
        hook: Hook,
    },
    /// The condition of a `wait_for_*` action is checked again at `next_check`, until `deadline`.
    Waiting {
        deadline: Instant,
        next_check: Instant,
        hook: Hook,
    },
}

impl Runner {
    /// A runner that logs failures and continues with the next hook.
    pub(in crate::master) fn continuing_on_failure() -> Self {
        Self {
            on_failure: OnFailure::Continue,
            ..Self::default()
        }
    }

    /// Appends hooks to the queue.
    pub(in crate::master) fn add(&mut self, hooks: impl IntoIterator<Item = Hook>) {
        self.queue.extend(hooks);
    }

    /// Sets the limit on the total run time of the queue, counted from `now`. `None` removes the limit.
    pub(in crate::master) fn set_time_limit(&mut self, limit: Option<Duration>, now: Instant) {
        self.time_limit = limit.map(|limit| TimeLimit {
            deadline: now + limit,
            limit,
        });
    }

    /// Number of queued hooks, without the current hook.
    pub(in crate::master) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Whether no hook runs or is queued.
    pub(in crate::master) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.current.is_none()
    }

    /// When [`Runner::advance`] must be called next, unless a child exits earlier.
    pub(in crate::master) fn deadline(&self) -> Option<Instant> {
        let limit = self.time_limit.map(|it| it.deadline);
        match &self.current {
            Some(Current::Waiting { next_check, .. }) => {
                limit.into_iter().chain([*next_check]).min()
            }
            Some(Current::Command { .. }) => limit,
            None => None,
        }
    }

    /// Kills the running command and clears the queue.
    pub(in crate::master) fn kill(&mut self) {
        self.queue.clear();
        if let Some(Current::Command { pid, hook, .. }) = self.current.take() {
            signal_group(hook.name, pid, Signal::SIGKILL);
        }
    }

    /// Performs hooks one after another. Returns when a started hook needs time, a hook fails, a hook requests an exit,
    /// or the queue is empty. Aborts the current hook if the time limit has passed. Does not wait for commands.
    pub(in crate::master) fn advance(
        &mut self,
        context: &CommandContext,
        outputs: &mut Outputs,
        now: Instant,
    ) -> Progress {
        if let Some(TimeLimit { deadline, limit }) = self.time_limit
            && deadline <= now
        {
            self.abort_overdue(limit);
        }
        loop {
            if let Some(result) = self.result.take() {
                return result;
            }
            match self.current.take() {
                None => match self.queue.pop_front() {
                    Some(hook) => self.begin(hook, context, outputs, now),
                    None => return Progress::Done,
                },
                Some(Current::Waiting {
                    deadline,
                    next_check,
                    hook,
                }) if next_check <= now => self.check(hook, deadline, now),
                Some(current) => {
                    self.current = Some(current);
                    return Progress::Running;
                }
            }
        }
    }

    /// Aborts the current hook because the time limit of the queue has passed. The hook counts as failed.
    fn abort_overdue(&mut self, limit: Duration) {
        self.time_limit = None;
        let (hook, killed) = match self.current.take() {
            Some(Current::Command { pid, hook, .. }) => {
                signal_group(hook.name, pid, Signal::SIGKILL);
                (hook, "; it was killed")
            }
            Some(Current::Waiting { hook, .. }) => (hook, ""),
            None => return,
        };
        let seconds = limit.as_secs();
        let reason = format!("did not finish within {seconds} s (hook-harakiri){killed}");
        self.fail(&hook, &reason);
    }

    fn begin(&mut self, hook: Hook, context: &CommandContext, outputs: &mut Outputs, now: Instant) {
        match &hook.action {
            Action::Exec(command) | Action::SafeExec(command) => {
                let command = ShellCommand::new(hook.name, command);
                // after the master's exit nothing needs the result of the command, so the kernel kills the command then
                match command.spawn(context, Signal::SIGKILL, outputs) {
                    Ok(pid) => {
                        self.current = Some(Current::Command {
                            pid,
                            since: now,
                            hook,
                        });
                    }
                    Err(error) => self.fail(&hook, &format!("cannot run /bin/sh: {error}")),
                }
            }
            Action::WaitFor(_, target, timeout) => {
                tracing::info!("hook {}: waiting for {target}", hook.name);
                let timeout = timeout.unwrap_or(WAIT_TIMEOUT);
                self.check(hook, now + timeout, now);
            }
            Action::Exit(status) => {
                self.queue.clear();
                self.result = Some(Progress::Exit(*status));
            }
            action => {
                if let Err(error) = perform(action, &context.directory) {
                    self.fail(&hook, &error.to_string());
                }
            }
        }
    }

    /// Checks the condition of a `wait_for_*` action. If the condition does not hold, schedules the next check, or
    /// fails the hook after `deadline`.
    fn check(&mut self, hook: Hook, deadline: Instant, now: Instant) {
        let Action::WaitFor(kind, target, timeout) = &hook.action else {
            return;
        };
        if is_available(*kind, target) {
            return;
        }
        if now >= deadline {
            let seconds = timeout.unwrap_or(WAIT_TIMEOUT).as_secs();
            return self.fail(&hook, &format!("not available after {seconds} s"));
        }
        self.current = Some(Current::Waiting {
            deadline,
            next_check: now + WAIT_INTERVAL,
            hook,
        });
    }

    /// Handles the exit of a child. Returns false if the child is not the running command.
    pub(in crate::master) fn child_exited(
        &mut self,
        end: End,
        outputs: &mut Outputs,
        now: Instant,
    ) -> bool {
        match self.current.take() {
            Some(Current::Command { pid, since, hook }) if pid == end.pid => {
                outputs.command_exited(pid);
                self.command_exited(&hook, end, now - since);
                true
            }
            other => {
                self.current = other;
                false
            }
        }
    }

    fn command_exited(&mut self, hook: &Hook, end: End, age: Duration) {
        let (name, pid, age) = (hook.name, end.pid, age.as_secs_f64());
        let action = describe(&hook.action);
        match (&hook.action, end.exit) {
            (_, Exit::Status(0)) if name == log::ALARM => {}
            (_, Exit::Status(0)) => {
                tracing::info!("hook {name}: {action} (pid {pid}) succeeded after {age:.1} s");
            }
            (Action::SafeExec(_), exit) => {
                tracing::warn!("hook {name}: {action} (pid {pid}) {exit} after {age:.1} s");
            }
            (_, exit) => self.fail(hook, &format!("pid {pid} {exit} after {age:.1} s")),
        }
    }

    fn fail(&mut self, hook: &Hook, reason: &str) {
        let message = format!(
            "hook {}: {} failed: {reason}",
            hook.name,
            describe(&hook.action)
        );
        match self.on_failure {
            // the action contains the message of an alarm; this log line must not raise the alarm again (`log-alarm`)
            _ if hook.name == log::ALARM => log::alarm("command", &message),
            OnFailure::Continue => tracing::warn!("{message}"),
            OnFailure::Abort => {
                self.queue.clear();
                self.result = Some(Progress::Failed(message));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::path::Path;

    use crate::config::WaitTarget;

    use super::*;

    fn run(actions: Vec<Action>, directory: &Path) -> Progress {
        let mut runner = Runner::default();
        runner.add(actions.into_iter().map(|action| Hook::new("test", action)));
        let context = CommandContext {
            directory: directory.to_owned(),
            environment: Vec::new(),
        };
        runner.advance(&context, &mut Outputs::default(), Instant::now())
    }

    /// Creates a runner with one hook, which waits for a directory that never exists.
    fn endless() -> Runner {
        let mut runner = Runner::default();
        let never = Action::WaitFor(WaitTarget::Directory, "/nonexistent".to_owned(), None);
        runner.add([Hook::new("test", never)]);
        runner
    }

    #[test]
    fn a_failure_drops_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let progress = run(
            vec![
                Action::Unlink("none".to_owned()),
                Action::Create("later".to_owned()),
            ],
            dir.path(),
        );
        assert!(
            matches!(progress, Progress::Failed(why) if why.contains("hook test: unlink none failed"))
        );
        assert!(!dir.path().join("later").exists());
    }

    #[test]
    fn an_exit_drops_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let actions = vec![Action::Exit(3), Action::Create("later".to_owned())];
        assert_eq!(run(actions, dir.path()), Progress::Exit(3));
        assert!(!dir.path().join("later").exists());
    }

    #[test]
    fn a_condition_is_checked_repeatedly() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("awaited");
        let target = path.to_str().unwrap().to_owned();
        let mut runner = Runner::default();
        runner.add([Hook::new(
            "test",
            Action::WaitFor(WaitTarget::File, target, None),
        )]);
        let (context, mut outputs) = (CommandContext::default(), Outputs::default());
        let mut now = Instant::now();
        let mut advance = |now| runner.advance(&context, &mut outputs, now);
        for _ in 0..2 {
            assert_eq!(advance(now), Progress::Running);
            now += WAIT_INTERVAL;
        }
        fs::write(&path, "").unwrap();
        assert_eq!(advance(now), Progress::Done);
    }

    #[test]
    fn hooks_that_exceed_the_time_limit_are_aborted() {
        let mut runner = endless();
        let (context, mut outputs) = (CommandContext::default(), Outputs::default());
        let now = Instant::now();
        runner.set_time_limit(Some(Duration::from_millis(50)), now);
        runner.advance(&context, &mut outputs, now);
        let deadline = runner.deadline().unwrap();
        assert_eq!(deadline, now + Duration::from_millis(50));
        let progress = runner.advance(&context, &mut outputs, deadline);
        assert!(matches!(progress, Progress::Failed(why) if why.contains("hook-harakiri")));
    }

    #[test]
    fn a_condition_that_stays_false_is_a_failure() {
        let mut runner = endless();
        let (context, mut outputs) = (CommandContext::default(), Outputs::default());
        let now = Instant::now();
        runner.advance(&context, &mut outputs, now);
        assert_eq!(runner.deadline(), Some(now + WAIT_INTERVAL));
        let progress = runner.advance(&context, &mut outputs, now + WAIT_TIMEOUT);
        assert!(matches!(progress, Progress::Failed(_)));
    }
}
