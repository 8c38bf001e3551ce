//! Cron jobs: starts the jobs that `cron_schedule.rs` finds due, and limits the number and the run time of their
//! processes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::config::{Config, Task};
use crate::master::shell::command::{CommandContext, ShellCommand, signal_group};
use crate::master::shell::leash::Leash;
use crate::master::shell::output::Outputs;
use crate::stats::CronView;
use crate::sys::process::{End, Exit, Pid};
use crate::sys::signal::Signal;

use super::cron_schedule::{self, Minute};

/// Maximum number of simultaneous runs of one job.
const MAX_RUNS: usize = 16;

/// Time between SIGTERM and SIGKILL when the instance stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The cron jobs of an instance, and their runs.
#[derive(Debug, Default)]
pub(super) struct CronJobs {
    jobs: Vec<CronJob>,
    runs: Vec<Run>,
    /// The last minute that was checked for due jobs; `None` before the first check.
    last: Option<Minute>,
    /// The time at which the next minute begins; `None` without jobs.
    due: Option<Instant>,
}

/// Converts a time of the monotonic clock to seconds since 1970.
fn unix_time(moment: Instant, now: Instant) -> u64 {
    let date = SystemTime::now().checked_sub(now.saturating_duration_since(moment));
    let since = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_secs())
}

#[derive(Debug)]
struct CronJob {
    task: Task,
    /// Maximum run time (`harakiri`); `None` without a limit.
    harakiri: Option<Duration>,
    /// The first minute in which the job may run. A job that a reload adds does not run in the minute of the reload.
    from: Minute,
}

/// One run of a job.
#[derive(Debug)]
struct Run {
    task: Task,
    pid: Pid,
    since: Instant,
    limit: Limit,
    _leash: Leash,
}

/// The condition under which a run is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    /// The run is not killed.
    None,
    /// The run is killed at this time, when it exceeds its maximum run time.
    Harakiri(Instant),
    /// The run has received SIGTERM, and is killed if it has not exited at this time.
    Stop(Instant),
    /// The run has received SIGKILL.
    Killed,
}

impl Limit {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Harakiri(deadline) | Self::Stop(deadline) => Some(deadline),
            Self::None | Self::Killed => None,
        }
    }
}

impl CronJobs {
    /// Replaces the jobs by the jobs of a new generation. Runs of the previous jobs continue.
    pub(super) fn configure(&mut self, config: &Config, now: Instant) {
        let (minute, _) = cron_schedule::now();
        let is_reload = self.last.is_some();
        let previous = std::mem::take(&mut self.jobs);
        let default_harakiri = config.cron_harakiri();
        let jobs = config.tasks().into_iter().map(|task| {
            let is_known = previous.iter().any(|job| job.task == task);
            let harakiri = task.harakiri.or(default_harakiri);
            CronJob {
                task,
                harakiri: harakiri.filter(|limit| !limit.is_zero()),
                from: if is_reload && !is_known {
                    minute + 1
                } else {
                    0
                },
            }
        });
        self.jobs = jobs.collect();
        self.due = (!self.jobs.is_empty()).then_some(now);
    }

    /// The views of the jobs for the observer.
    pub(super) fn views(&self, now: Instant) -> Vec<CronView> {
        let jobs = self.jobs.iter().map(|job| {
            let schedule = &job.task.schedule;
            let mut runs = self.runs.iter();
            let run = runs.find(|run| run.task == job.task);
            CronView {
                minute: schedule.minute,
                hour: schedule.hour,
                day: schedule.day,
                month: schedule.month,
                week: schedule.week,
                command: job.task.command.clone(),
                is_unique: job.task.unique,
                run: run.map(|run| (run.pid.get(), unix_time(run.since, now))),
            }
        });
        jobs.collect()
    }

    /// Whether no run of a job is left.
    pub(super) fn is_idle(&self) -> bool {
        self.runs.is_empty()
    }

    /// The time at which [`CronJobs::tick`] must be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let runs = self.runs.iter().filter_map(|run| run.limit.deadline());
        runs.chain(self.due).min()
    }

    /// Kills overdue runs and starts the jobs that are due.
    pub(super) fn tick(&mut self, context: &CommandContext, outputs: &mut Outputs, now: Instant) {
        for run in &mut self.runs {
            run.kill_if_overdue(now);
        }
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        let (minute, rest) = cron_schedule::now();
        self.due = Some(now + rest);
        let minutes = cron_schedule::minutes(self.last, minute);
        if minutes.is_empty() {
            return;
        }
        self.last = Some(minute);
        for index in 0..self.jobs.len() {
            let CronJob { task, from, .. } = &self.jobs[index];
            let is_due =
                |minute| cron_schedule::is_due(&task.schedule, minute, &cron_schedule::local);
            if minutes
                .clone()
                .any(|minute| minute >= *from && is_due(minute))
            {
                self.start(index, context, outputs, now);
            }
        }
    }

    fn start(
        &mut self,
        index: usize,
        context: &CommandContext,
        outputs: &mut Outputs,
        now: Instant,
    ) {
        let CronJob { task, harakiri, .. } = &self.jobs[index];
        let name = &task.name;
        let runs = self.runs.iter().filter(|run| run.task == *task).count();
        if task.unique && runs > 0 {
            tracing::info!("{name}: skipped, because its last run has not finished (unique)");
            return;
        }
        if runs >= MAX_RUNS {
            tracing::warn!("{name}: skipped, because {runs} runs of it have not finished");
            return;
        }
        let command = ShellCommand::new(name, &task.command);
        match command.spawn(context, Signal::SIGTERM, outputs) {
            Ok(pid) => {
                tracing::info!("{name} (pid {pid}): started");
                self.runs.push(Run {
                    task: task.clone(),
                    pid,
                    since: now,
                    limit: harakiri.map_or(Limit::None, |limit| Limit::Harakiri(now + limit)),
                    _leash: Leash::new(pid, Signal::SIGTERM, &task.command),
                });
            }
            Err(error) => tracing::error!("{name}: cannot start: {error}"),
        }
    }

    /// Handles the exit of a child. Returns false if the child is not a run of a job.
    pub(super) fn child_exited(&mut self, end: End, outputs: &mut Outputs, now: Instant) -> bool {
        let Some(index) = self.runs.iter().position(|run| run.pid == end.pid) else {
            return false;
        };
        outputs.command_exited(end.pid);
        self.runs.swap_remove(index).log_exit(end.exit, now);
        true
    }

    /// Removes all jobs, so that no job is started any more. Current runs continue.
    pub(super) fn clear(&mut self) {
        self.jobs.clear();
        self.due = None;
    }

    /// Sends SIGTERM to the process groups of all runs. A run that has not exited within [`STOP_TIMEOUT`] is killed.
    pub(super) fn stop(&mut self, now: Instant) {
        for run in &mut self.runs {
            run.stop(now);
        }
    }

    /// Kills the process groups of all runs.
    pub(super) fn kill(&mut self) {
        for run in &mut self.runs {
            run.kill();
        }
    }
}

impl Run {
    fn stop(&mut self, now: Instant) {
        let (name, pid) = (&self.task.name, self.pid);
        tracing::info!("{name} (pid {pid}): stopping with SIGTERM");
        signal_group(name, pid, Signal::SIGTERM);
        let deadline = now + STOP_TIMEOUT;
        self.limit = match self.limit {
            Limit::Harakiri(earlier) if earlier < deadline => Limit::Harakiri(earlier),
            Limit::Killed => Limit::Killed,
            _ => Limit::Stop(deadline),
        };
    }

    fn kill(&mut self) {
        self.limit = Limit::Killed;
        signal_group(&self.task.name, self.pid, Signal::SIGKILL);
    }

    fn kill_if_overdue(&mut self, now: Instant) {
        if self.limit.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        let (name, pid) = (&self.task.name, self.pid);
        let age = (now - self.since).as_secs_f64();
        match self.limit {
            Limit::Harakiri(deadline) => {
                let harakiri = (deadline - self.since).as_secs();
                tracing::warn!(
                    "{name} (pid {pid}): killed after {age:.1} s (harakiri = {harakiri})"
                );
            }
            _ => {
                let seconds = STOP_TIMEOUT.as_secs();
                tracing::warn!("{name} (pid {pid}): killed: did not stop within {seconds} s");
            }
        }
        self.kill();
    }

    fn log_exit(self, exit: Exit, now: Instant) {
        let (name, pid) = (&self.task.name, self.pid);
        let age = (now - self.since).as_secs_f64();
        if exit == Exit::Status(0) {
            tracing::info!("{name} (pid {pid}): succeeded after {age:.1} s");
        } else {
            tracing::warn!("{name} (pid {pid}): {exit} after {age:.1} s");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use nix::sys::wait::waitpid;

    use crate::config::Schedule;

    use super::*;

    /// Starts one job `times` times, and returns the number of runs after that.
    fn runs(unique: bool, times: usize) -> usize {
        let task = Task {
            name: "test".to_owned(),
            command: "exec sleep 1000".to_owned(),
            schedule: Schedule::ALWAYS,
            unique,
            harakiri: None,
        };
        let mut cron = CronJobs::default();
        cron.jobs.push(CronJob {
            task,
            harakiri: None,
            from: 0,
        });
        let (context, mut outputs) = (CommandContext::default(), Outputs::default());
        for _ in 0..times {
            cron.start(0, &context, &mut outputs, Instant::now());
        }
        let count = cron.runs.len();
        cron.kill();
        for run in &cron.runs {
            waitpid(nix::unistd::Pid::from_raw(run.pid.get()), None).unwrap();
        }
        count
    }

    #[test]
    fn a_unique_job_does_not_overlap_and_others_do_up_to_a_limit() {
        assert_eq!(runs(true, 3), 1);
        assert_eq!(runs(false, 3), 3);
        assert_eq!(runs(false, MAX_RUNS + 3), MAX_RUNS);
    }
}
