//! Commands of `cron`: started when `cron.rs` finds them due, bounded, told of in the log.

use std::time::{Duration, Instant};

use crate::config::{Config, Task};
use crate::sys::process::{End, Exit, Pid};
use crate::sys::signal::Signal;

use super::child::{Errand, Leash, Outputs, Surroundings, signal};
use super::cron::{self, Minute};

/// How many of one command may run at the same time.
const MOST_AT_ONCE: usize = 16;

/// How long what runs may take when the instance stops.
const MERCY: Duration = Duration::from_secs(10);

/// The commands of an instance, and what runs of them.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    all: Vec<Planned>,
    runs: Vec<Run>,
    /// The last minute that was judged.
    last: Option<Minute>,
    /// When the next one begins.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Planned {
    task: Task,
    harakiri: Option<Duration>,
    /// Not judged before this minute: it was added while the instance ran.
    from: Minute,
}

/// A command that runs.
#[derive(Debug)]
struct Run {
    task: Task,
    pid: Pid,
    since: Instant,
    /// Then it is killed.
    deadline: Option<Instant>,
    /// Because it took too long, and not because the instance stops.
    late: bool,
    _leash: Leash,
}

impl Tasks {
    /// Takes on the commands of a new generation. What runs goes on.
    pub(super) fn settle(&mut self, config: &Config, now: Instant) {
        let (minute, _) = cron::now();
        let running = self.last.is_some();
        let before = std::mem::take(&mut self.all);
        let usual = config.cron_harakiri();
        self.all = config
            .tasks()
            .into_iter()
            .map(|task| {
                let known = before.iter().any(|planned| planned.task == task);
                let harakiri = task.harakiri.or(usual).filter(|limit| !limit.is_zero());
                Planned {
                    task,
                    harakiri,
                    from: if running && !known { minute + 1 } else { 0 },
                }
            })
            .collect();
        self.due = (!self.all.is_empty()).then_some(now);
    }

    /// Whether nothing runs.
    pub(super) fn is_idle(&self) -> bool {
        self.runs.is_empty()
    }

    /// When [`Tasks::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let runs = self.runs.iter().filter_map(|run| run.deadline);
        runs.chain(self.due).min()
    }

    /// Starts what is due and kills what is late.
    pub(super) fn tick(&mut self, around: &Surroundings, outputs: &mut Outputs, now: Instant) {
        for run in &mut self.runs {
            run.judge(now);
        }
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        let (minute, rest) = cron::now();
        self.due = Some(now + rest);
        let minutes = cron::minutes(self.last, minute);
        if minutes.is_empty() {
            return;
        }
        self.last = Some(minute);
        for index in 0..self.all.len() {
            let planned = &self.all[index];
            let due = minutes
                .clone()
                .filter(|minute| *minute >= planned.from)
                .any(|minute| cron::is_due(&planned.task.schedule, minute, &cron::local));
            if due {
                self.start(index, around, outputs, now);
            }
        }
    }

    fn start(&mut self, index: usize, around: &Surroundings, outputs: &mut Outputs, now: Instant) {
        let Planned { task, harakiri, .. } = &self.all[index];
        let at_once = self.runs.iter().filter(|run| run.task == *task).count();
        if task.unique && at_once > 0 {
            tracing::info!("{} still runs: it is left out this time", task.name);
            return;
        }
        if at_once >= MOST_AT_ONCE {
            tracing::warn!(
                "{} runs {at_once} times already: it is left out this time",
                task.name
            );
            return;
        }
        let errand = Errand::new(&task.name, &task.command);
        match errand.run(around, Signal::SIGTERM, outputs) {
            Ok(pid) => {
                tracing::info!("{} is started (pid {pid})", task.name);
                self.runs.push(Run {
                    task: task.clone(),
                    pid,
                    since: now,
                    deadline: harakiri.map(|limit| now + limit),
                    late: harakiri.is_some(),
                    _leash: Leash::new(pid, Signal::SIGTERM, &task.command),
                });
            }
            Err(error) => tracing::error!("{} cannot be started: {error}", task.name),
        }
    }

    /// Hears of the end of a child; false if it is not one of ours.
    pub(super) fn ended(&mut self, end: End, outputs: &mut Outputs, now: Instant) -> bool {
        let Some(index) = self.runs.iter().position(|run| run.pid == end.pid) else {
            return false;
        };
        outputs.ended(end.pid);
        self.runs.swap_remove(index).report(end, now);
        true
    }

    /// Starts nothing more.
    pub(super) fn wind_down(&mut self) {
        self.all.clear();
        self.due = None;
    }

    /// Asks what runs to stop.
    pub(super) fn stop(&mut self, now: Instant) {
        for run in &mut self.runs {
            tracing::info!("{} (pid {}) is asked to stop", run.task.name, run.pid);
            signal(&run.task.name, run.pid, Signal::SIGTERM);
            let deadline = now + MERCY;
            run.late &= run.deadline.is_some_and(|due| due < deadline);
            run.deadline = Some(run.deadline.map_or(deadline, |due| due.min(deadline)));
        }
    }

    /// Ends what runs.
    pub(super) fn kill(&mut self) {
        for run in &mut self.runs {
            run.deadline = None;
            signal(&run.task.name, run.pid, Signal::SIGKILL);
        }
    }
}

impl Run {
    fn judge(&mut self, now: Instant) {
        if self.deadline.is_none_or(|due| now < due) {
            return;
        }
        self.deadline = None;
        let (name, pid, age) = (&self.task.name, self.pid, (now - self.since).as_secs_f64());
        if self.late {
            tracing::warn!(
                "{name} (pid {pid}) is killed: it takes too long, {age:.1} s (harakiri)"
            );
        } else {
            tracing::warn!("{name} (pid {pid}) is killed: it has not stopped in time");
        }
        signal(name, pid, Signal::SIGKILL);
    }

    fn report(self, end: End, now: Instant) {
        let (name, exit) = (&self.task.name, end.exit);
        let took = (now - self.since).as_secs_f64();
        if exit == Exit::Status(0) {
            tracing::info!("{name} (pid {}) ended well after {took:.1} s", self.pid);
        } else {
            tracing::warn!("{name} (pid {}) {exit} after {took:.1} s", self.pid);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use nix::sys::wait::waitpid;

    use crate::config::Schedule;

    use super::*;

    /// Tasks with one command, which is started `times` times; how many run of it.
    fn running(unique: bool, times: usize) -> usize {
        let task = Task {
            name: "test".to_owned(),
            command: "exec sleep 1000".to_owned(),
            schedule: Schedule::ALWAYS,
            unique,
            harakiri: None,
        };
        let mut tasks = Tasks::default();
        tasks.all.push(Planned {
            task,
            harakiri: None,
            from: 0,
        });
        let mut outputs = Outputs::default();
        for _ in 0..times {
            tasks.start(0, &Surroundings::default(), &mut outputs, Instant::now());
        }
        let count = tasks.runs.len();
        tasks.kill();
        for run in &tasks.runs {
            waitpid(nix::unistd::Pid::from_raw(run.pid.get()), None).unwrap();
        }
        count
    }

    #[test]
    fn one_that_is_unique_does_not_overlap_and_others_do_up_to_a_limit() {
        assert_eq!(running(true, 3), 1);
        assert_eq!(running(false, 3), 3);
        assert_eq!(running(false, MOST_AT_ONCE + 3), MOST_AT_ONCE);
    }
}
