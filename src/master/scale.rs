//! The number of workers of an instance: pure functions over one sample of the load per second.
//!
//! The algorithms are uWSGI's, with one exception: a worker is retired only if the remaining workers can take its load.
//!
//! ```text
//! spare     no spare thread for cheaper-overload seconds: more;  a surplus worker for the same time: one fewer
//! backlog   more than cheaper-overload connections wait: more;  a surplus worker: one fewer
//! busyness  cycle average above cheaper-busyness-max: more;  below cheaper-busyness-min for many cycles: one fewer
//! ```

/// If at least this share of all threads is busy, no thread counts as spare.
const FULL: f64 = 0.9;
/// A worker is surplus if the load would keep at most this share of the remaining workers' threads busy.
const SLACK: f64 = 0.75;

/// The configured scaling (`cheaper` and related options).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    /// Whether no worker is started until the first connection (`cheap`).
    pub(super) cheap: bool,
    /// Number of workers at the start (`cheaper-initial`).
    pub(super) initial: u32,
    /// Minimum number of workers, once any worker is requested (`cheaper`).
    pub(super) least: u32,
    /// Maximum number of workers (`processes`).
    pub(super) most: u32,
    /// Number of workers started at a time (`cheaper-step`).
    pub(super) step: u32,
    /// `cheaper-overload`. For spare: the seconds after which the number of workers changes. For backlog: the number of
    /// waiting connections above which workers are started. For busyness: the seconds of a cycle.
    pub(super) overload: u32,
    pub(super) algorithm: Algorithm,
    /// Limits of the resident memory of all workers, in bytes (`cheaper-rss-limit-soft`, `cheaper-rss-limit-hard`).
    /// From the soft limit on, no worker is started. From the hard limit on, workers are retired.
    pub(super) soft_limit: Option<u64>,
    pub(super) hard_limit: Option<u64>,
}

/// The scaling algorithm (`cheaper-algo`) with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Algorithm {
    Spare,
    Backlog,
    Busyness(Busyness),
    /// Only an operator changes the number of workers.
    Manual,
}

/// The parameters of the busyness algorithm (`cheaper-busyness-*`).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Busyness {
    /// Share of busy threads, in percent.
    pub(super) max: u32,
    pub(super) min: u32,
    /// Consecutive cycles with a busyness below `min` after which a worker is retired.
    pub(super) multiplier: u32,
    /// Cycles added to `multiplier` each time that a worker is needed again soon after a worker was retired.
    pub(super) penalty: u32,
    /// If more than this number of connections wait, `backlog_step` workers are started without waiting for the end of
    /// the cycle.
    pub(super) backlog_alert: u32,
    pub(super) backlog_step: u32,
    /// The same as `multiplier`, for a worker that was started because connections waited.
    pub(super) backlog_multiplier: u32,
    /// Consecutive seconds with waiting connections after which `backlog_step` workers are started too; 0: never.
    pub(super) backlog_nonzero: u32,
}

impl Scale {
    /// Whether the number of workers follows the load.
    pub(super) fn follows_load(&self) -> bool {
        self.least < self.most && self.algorithm != Algorithm::Manual
    }

    /// Returns the scaling of an instance without a socket: no workers.
    pub(super) fn without_workers(self) -> Self {
        Self {
            initial: 0,
            least: 0,
            most: 0,
            ..self
        }
    }

    /// Whether the algorithm needs the lengths of the sockets' accept queues.
    pub(super) fn needs_queue(&self) -> bool {
        matches!(self.algorithm, Algorithm::Backlog | Algorithm::Busyness(_))
    }

    /// Whether a memory limit is set, so that samples need the resident memory of the workers.
    pub(super) fn needs_memory(&self) -> bool {
        self.soft_limit.is_some() || self.hard_limit.is_some()
    }
}

/// The load in the last second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct LoadSample {
    /// Number of requested workers.
    pub(super) wanted: u32,
    /// Number of workers that serve.
    pub(super) serving: u32,
    /// Number of threads per worker.
    pub(super) threads: u32,
    /// Average number of busy threads of all workers.
    pub(super) busy: f64,
    /// Number of connections that wait to be accepted.
    pub(super) queue: u32,
    /// Resident memory of all workers, in bytes.
    pub(super) resident: u64,
}

impl LoadSample {
    fn is_full(&self) -> bool {
        self.busy >= FULL * f64::from(self.serving * self.threads)
    }

    fn has_slack(&self) -> bool {
        self.busy <= SLACK * f64::from(self.serving.saturating_sub(1) * self.threads)
    }

    /// Share of busy threads, in percent.
    fn busyness(&self) -> f64 {
        100.0 * self.busy / f64::from((self.serving * self.threads).max(1))
    }
}

/// The state that the algorithms carry from one sample to the next.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct History {
    /// Consecutive seconds without a spare thread.
    full: u32,
    /// Consecutive seconds with a surplus worker.
    slack: u32,
    /// Consecutive seconds with waiting connections.
    waiting: u32,
    /// State of the busyness algorithm.
    cycle: Cycle,
}

/// The history of the busyness algorithm.
#[derive(Clone, Debug, Default, PartialEq)]
struct Cycle {
    /// Elapsed seconds of the current cycle.
    seconds: u32,
    /// Sum of the busyness of the elapsed seconds, in percent.
    sum: f64,
    /// Consecutive cycles with an average busyness below the minimum.
    idle: u32,
    /// Cycles since the last worker was retired; `None` if that retirement can no longer add to the penalty.
    since_fewer: Option<u32>,
    /// Cycles currently added to the multiplier.
    penalty: u32,
    /// Number of workers that were started for waiting connections and are not yet retired.
    emergency: u32,
}

/// Returns the number of workers to request after the sample `now`, and updates the history.
pub(super) fn next_count(scale: &Scale, history: &mut History, now: &LoadSample) -> u32 {
    let wanted = now.wanted.min(scale.most);
    if wanted == 0 {
        *history = History::default();
        return 0;
    }
    // no further workers are requested before the requested workers have started
    let complete = now.serving >= wanted;
    let change = match &scale.algorithm {
        Algorithm::Manual => return wanted,
        Algorithm::Spare => spare(scale, history, now),
        Algorithm::Backlog => backlog(scale, history, now),
        Algorithm::Busyness(rule) => busyness(scale, rule, history, now),
    };
    let over = |limit: Option<u64>| limit.is_some_and(|limit| now.resident >= limit);
    let next = match change {
        _ if wanted < scale.least => scale.least,
        _ if over(scale.hard_limit) => wanted - 1,
        Change::More(_) if over(scale.soft_limit) || !complete => wanted,
        Change::More(step) => wanted.saturating_add(step),
        Change::None => wanted,
        Change::Fewer => wanted - 1,
    };
    next.clamp(scale.least.max(1).min(scale.most), scale.most)
}

/// The change of the number of workers that an algorithm requests.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    None,
    More(u32),
    Fewer,
}

fn spare(scale: &Scale, history: &mut History, now: &LoadSample) -> Change {
    history.full = if now.is_full() { history.full + 1 } else { 0 };
    if history.full >= scale.overload.max(1) {
        history.full = 0;
        history.slack = 0;
        return Change::More(scale.step);
    }
    one_fewer(scale.overload, history, now)
}

fn one_fewer(seconds: u32, history: &mut History, now: &LoadSample) -> Change {
    history.slack = if now.has_slack() {
        history.slack + 1
    } else {
        0
    };
    if history.slack < seconds.max(1) {
        return Change::None;
    }
    history.slack = 0;
    Change::Fewer
}

/// uWSGI retires a worker in each second in which at most `cheaper-overload` connections wait. This function retires a
/// worker only if the remaining workers can take its load.
fn backlog(scale: &Scale, history: &mut History, now: &LoadSample) -> Change {
    if now.queue > scale.overload {
        history.slack = 0;
        return Change::More(scale.step);
    }
    one_fewer(1, history, now)
}

fn busyness(scale: &Scale, rule: &Busyness, history: &mut History, now: &LoadSample) -> Change {
    history.waiting = if now.queue > 0 {
        history.waiting + 1
    } else {
        0
    };
    let alert = now.queue > rule.backlog_alert
        || (rule.backlog_nonzero > 0 && history.waiting >= rule.backlog_nonzero);
    let cycle = &mut history.cycle;
    if alert && rule.backlog_step > 0 {
        history.waiting = 0;
        cycle.idle = 0;
        cycle.emergency += rule.backlog_step;
        return Change::More(rule.backlog_step);
    }
    cycle.seconds += 1;
    cycle.sum += now.busyness();
    if cycle.seconds < scale.overload.max(1) {
        return Change::None;
    }
    let average = cycle.sum / f64::from(cycle.seconds);
    (cycle.seconds, cycle.sum) = (0, 0.0);
    end_of_cycle(scale, rule, cycle, average)
}

fn end_of_cycle(scale: &Scale, rule: &Busyness, cycle: &mut Cycle, average: f64) -> Change {
    let missed_within = rule.multiplier + cycle.penalty;
    cycle.since_fewer = cycle.since_fewer.map(|cycles| cycles.saturating_add(1));
    if average > f64::from(rule.max) {
        cycle.idle = 0;
        // the last worker was retired too soon: retire the next worker later
        if cycle
            .since_fewer
            .is_some_and(|cycles| cycles <= missed_within)
        {
            cycle.penalty = cycle.penalty.saturating_add(rule.penalty);
            cycle.since_fewer = None;
        }
        return Change::More(scale.step);
    }
    if cycle
        .since_fewer
        .is_some_and(|cycles| cycles > missed_within)
    {
        cycle.penalty = 0;
        cycle.since_fewer = None;
    }
    if average >= f64::from(rule.min) {
        cycle.idle = 0;
        return Change::None;
    }
    cycle.idle += 1;
    let enough = match cycle.emergency {
        0 => rule.multiplier + cycle.penalty,
        _ => rule.backlog_multiplier,
    };
    if cycle.idle < enough.max(1) {
        return Change::None;
    }
    cycle.idle = 0;
    match cycle.emergency {
        0 => cycle.since_fewer = Some(0),
        _ => cycle.emergency -= 1,
    }
    Change::Fewer
}

/// Returns the number of workers that a generation starts with. `serving`: the requested and the maximum number of
/// workers of the current generation; `None` for the first generation.
///
/// A reload keeps the current number, because it follows from the load. No workers before a reload means no workers
/// after it, with one exception: with `lazy`, only a worker can show that the application does not load.
pub(super) fn first_count(scale: &Scale, serving: Option<(u32, u32)>, lazy: bool) -> u32 {
    match serving {
        None if scale.cheap => 0,
        None => scale.initial,
        Some((0, _)) if lazy => scale.initial,
        Some((0, _)) => 0,
        Some((count, most)) if count == most => scale.most,
        Some((count, _)) => count.clamp(scale.initial.min(scale.most), scale.most),
    }
}

#[cfg(test)]
mod tests;
