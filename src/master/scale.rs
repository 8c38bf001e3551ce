//! The number of workers of an instance: pure functions over one sample of the load per second.
//!
//! The algorithms are uWSGI's. None of them retires a worker whose load the others could not take.
//!
//! ```text
//! spare     all threads busy for some seconds: more;  a surplus worker for as long: one fewer
//! backlog   more connections wait than cheaper-overload: more;  as above: one fewer
//! busyness  an average above cheaper-busyness-max: more;  below cheaper-busyness-min for many cycles: one fewer
//! ```

/// Share of busy threads from which no thread counts as spare.
const FULL: f64 = 0.9;
/// A worker is surplus when the load on the others would be at most this.
const SLACK: f64 = 0.75;

/// The configured scaling (`cheaper` and the like).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    /// `cheap`: no worker until the first connection.
    pub(super) cheap: bool,
    /// `cheaper-initial`: workers at the start.
    pub(super) initial: u32,
    /// `cheaper`: the minimum, once there are any.
    pub(super) least: u32,
    /// `processes`.
    pub(super) most: u32,
    /// `cheaper-step`: workers started at once.
    pub(super) step: u32,
    /// `cheaper-overload`: seconds for spare, connections for backlog, the seconds of a cycle for busyness.
    pub(super) overload: u32,
    pub(super) algorithm: Algorithm,
    /// `cheaper-rss-limit-soft`, `-hard`: resident bytes of all workers.
    pub(super) soft_limit: Option<u64>,
    pub(super) hard_limit: Option<u64>,
}

/// `cheaper-algo`, with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Algorithm {
    Spare,
    Backlog,
    Busyness(Busyness),
    /// Only an operator changes the number.
    Manual,
}

/// `cheaper-busyness-*`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Busyness {
    /// Percent.
    pub(super) max: u32,
    pub(super) min: u32,
    /// Cycles below `min` after which a worker is retired.
    pub(super) multiplier: u32,
    /// Cycles added to `multiplier` each time that a worker is needed again soon after one was retired.
    pub(super) penalty: u32,
    /// Waiting connections from which `backlog_step` workers are started at once.
    pub(super) backlog_alert: u32,
    pub(super) backlog_step: u32,
    /// Cycles after which such a worker may be retired.
    pub(super) backlog_multiplier: u32,
    /// Seconds with waiting connections after which they are started too.
    pub(super) backlog_nonzero: u32,
}

impl Scale {
    /// Whether the number follows the load.
    pub(super) fn follows_load(&self) -> bool {
        self.least < self.most && self.algorithm != Algorithm::Manual
    }

    /// The scaling of an instance without a socket.
    pub(super) fn without_workers(self) -> Self {
        Self {
            initial: 0,
            least: 0,
            most: 0,
            ..self
        }
    }

    /// Whether the algorithm needs the accept queues of the sockets.
    pub(super) fn needs_queue(&self) -> bool {
        matches!(self.algorithm, Algorithm::Backlog | Algorithm::Busyness(_))
    }

    /// Whether a limit needs the memory of the workers.
    pub(super) fn needs_memory(&self) -> bool {
        self.soft_limit.is_some() || self.hard_limit.is_some()
    }
}

/// The load in the last second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct LoadSample {
    /// Workers requested.
    pub(super) wanted: u32,
    /// Workers that serve.
    pub(super) serving: u32,
    /// Threads per worker.
    pub(super) threads: u32,
    /// Average number of busy threads.
    pub(super) busy: f64,
    /// Connections waiting to be accepted.
    pub(super) queue: u32,
    /// Resident memory of all workers, bytes.
    pub(super) resident: u64,
}

impl LoadSample {
    fn is_full(&self) -> bool {
        self.busy >= FULL * f64::from(self.serving * self.threads)
    }

    fn has_slack(&self) -> bool {
        self.busy <= SLACK * f64::from(self.serving.saturating_sub(1) * self.threads)
    }

    /// Percent.
    fn busyness(&self) -> f64 {
        100.0 * self.busy / f64::from((self.serving * self.threads).max(1))
    }
}

/// State carried from one sample to the next.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct History {
    /// Consecutive seconds without a spare thread.
    full: u32,
    /// Consecutive seconds with a surplus worker.
    slack: u32,
    /// Consecutive seconds in which a connection waited.
    waiting: u32,
    /// State of the busyness algorithm.
    cycle: Cycle,
}

/// The history of the busyness algorithm.
#[derive(Clone, Debug, Default, PartialEq)]
struct Cycle {
    /// Seconds of the cycle that have passed.
    seconds: u32,
    /// Sum of the busyness of these seconds.
    sum: f64,
    /// Consecutive cycles below the minimum.
    idle: u32,
    /// Cycles since a worker was retired.
    since_fewer: Option<u32>,
    /// Penalty added to the multiplier.
    penalty: u32,
    /// Workers that were started because connections waited, and are not retired yet.
    emergency: u32,
}

/// The number of workers to request after this sample.
pub(super) fn next_count(scale: &Scale, history: &mut History, now: &LoadSample) -> u32 {
    let wanted = now.wanted.min(scale.most);
    if wanted == 0 {
        *history = History::default();
        return 0;
    }
    // while requested workers have not started, no more are requested
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

/// The change that an algorithm requests.
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

/// uWSGI retires a worker in each second in which the queue is shorter; here only if the others can take its load.
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
        // the last worker was retired too soon
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

/// The number of workers that a generation starts with. `serving`: those of the current generation, and its maximum.
///
/// A reload keeps the number that the load has led to. Without workers there are none after it either, unless the workers
/// load the application (`lazy`): otherwise a failure would show only at the next connection.
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
