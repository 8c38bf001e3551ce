//! How many workers an instance has: pure rules over looks at the scoreboard, one a second.
//!
//! Three algorithms of uWSGI's, and none of them stops a worker that the rest could not stand in for.
//!
//! ```text
//! spare     all threads busy for some seconds: more;  a worker too many for as long: one fewer
//! backlog   more connections wait than cheaper-overload: more;  as above: one fewer
//! busyness  an average above cheaper-busyness-max: more;  below cheaper-busyness-min for many cycles: one fewer
//! ```

/// Above this share of all threads there is nobody to spare.
const FULL: f64 = 0.9;
/// One worker is too many when the others would have at most this to do.
const SLACK: f64 = 0.75;

/// What the configuration says about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    /// `cheap`: none until the first connection.
    pub(super) cheap: bool,
    /// `cheaper-initial`: workers of an instance that begins to serve.
    pub(super) initial: u32,
    /// `cheaper`: never fewer, once there are any.
    pub(super) least: u32,
    /// `processes`.
    pub(super) most: u32,
    /// `cheaper-step`: so many more at once.
    pub(super) step: u32,
    /// `cheaper-overload`: seconds for spare, connections for backlog, the seconds of a cycle for busyness.
    pub(super) overload: u32,
    pub(super) algorithm: Algorithm,
    /// `cheaper-rss-limit-soft`, `-hard`: resident bytes of all workers.
    pub(super) soft_limit: Option<u64>,
    pub(super) hard_limit: Option<u64>,
}

/// `cheaper-algo`, and what it needs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Algorithm {
    Spare,
    Backlog,
    Busyness(Busyness),
    /// Only the operator changes the number.
    Manual,
}

/// `cheaper-busyness-*`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Busyness {
    /// Percent.
    pub(super) max: u32,
    pub(super) min: u32,
    /// Cycles below `min` after which a worker goes.
    pub(super) multiplier: u32,
    /// Cycles more, each time that it was missed soon after.
    pub(super) penalty: u32,
    /// Waiting connections that bring `backlog_step` workers at once.
    pub(super) backlog_alert: u32,
    pub(super) backlog_step: u32,
    /// Cycles after which such a worker may go again.
    pub(super) backlog_multiplier: u32,
    /// Seconds with any waiting connection that bring them too.
    pub(super) backlog_nonzero: u32,
}

impl Scale {
    /// Whether the number follows the load.
    pub(super) fn follows(&self) -> bool {
        self.least < self.most && self.algorithm != Algorithm::Manual
    }

    /// Whether the queues of the sockets have to be known.
    pub(super) fn needs_queue(&self) -> bool {
        matches!(self.algorithm, Algorithm::Backlog | Algorithm::Busyness(_))
    }

    /// Whether the memory of the workers has to be known.
    pub(super) fn needs_memory(&self) -> bool {
        self.soft_limit.is_some() || self.hard_limit.is_some()
    }
}

/// What was seen in the last second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Reading {
    /// Workers that are wanted.
    pub(super) wanted: u32,
    /// Workers that serve.
    pub(super) serving: u32,
    /// Threads per worker.
    pub(super) threads: u32,
    /// How many threads were busy, on average.
    pub(super) busy: f64,
    /// Connections that wait to be accepted.
    pub(super) queue: u32,
    /// Resident memory of all workers, bytes.
    pub(super) resident: u64,
}

impl Reading {
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

/// What is remembered from one second to the next.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Memory {
    /// Seconds, one after the other, in which there was nobody to spare, or one too many.
    full: u32,
    slack: u32,
    /// Seconds, one after the other, in which a connection waited.
    waiting: u32,
    cycle: Cycle,
}

/// The memory of busyness.
#[derive(Clone, Debug, Default, PartialEq)]
struct Cycle {
    /// Seconds of the cycle that have passed, and the busyness of each, added up.
    seconds: u32,
    sum: f64,
    /// Cycles below the minimum, one after the other.
    idle: u32,
    /// Cycles since a worker went, and what the multiplier has become by penalties.
    since_fewer: Option<u32>,
    penalty: u32,
    /// Workers that came because connections waited, and are not gone again.
    emergency: u32,
}

/// How many workers are wanted after this second.
pub(super) fn judge(scale: &Scale, memory: &mut Memory, now: &Reading) -> u32 {
    let wanted = now.wanted.min(scale.most);
    if wanted == 0 {
        *memory = Memory::default();
        return 0;
    }
    // those that were asked for are not there yet: nothing can be judged
    let complete = now.serving >= wanted;
    let change = match &scale.algorithm {
        Algorithm::Manual => return wanted,
        Algorithm::Spare => spare(scale, memory, now),
        Algorithm::Backlog => backlog(scale, memory, now),
        Algorithm::Busyness(rule) => busyness(scale, rule, memory, now),
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

/// What an algorithm asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    None,
    More(u32),
    Fewer,
}

fn spare(scale: &Scale, memory: &mut Memory, now: &Reading) -> Change {
    memory.full = if now.is_full() { memory.full + 1 } else { 0 };
    if memory.full >= scale.overload.max(1) {
        memory.full = 0;
        memory.slack = 0;
        return Change::More(scale.step);
    }
    one_fewer(scale.overload, memory, now)
}

fn one_fewer(seconds: u32, memory: &mut Memory, now: &Reading) -> Change {
    memory.slack = if now.has_slack() { memory.slack + 1 } else { 0 };
    if memory.slack < seconds.max(1) {
        return Change::None;
    }
    memory.slack = 0;
    Change::Fewer
}

/// uWSGI takes a worker away in every second in which the queue is shorter; here only when the rest can do its work.
fn backlog(scale: &Scale, memory: &mut Memory, now: &Reading) -> Change {
    if now.queue > scale.overload {
        memory.slack = 0;
        return Change::More(scale.step);
    }
    one_fewer(1, memory, now)
}

fn busyness(scale: &Scale, rule: &Busyness, memory: &mut Memory, now: &Reading) -> Change {
    memory.waiting = if now.queue > 0 { memory.waiting + 1 } else { 0 };
    let alert = now.queue > rule.backlog_alert
        || (rule.backlog_nonzero > 0 && memory.waiting >= rule.backlog_nonzero);
    let cycle = &mut memory.cycle;
    if alert && rule.backlog_step > 0 {
        memory.waiting = 0;
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
        // the one that went last went too soon
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

/// How many workers a generation begins with; `serving` are those of the one that serves, and how many it may have.
///
/// A reload keeps what the load has made of the number. One that has no workers stays so, unless the application is
/// loaded by the workers (`lazy`): nobody would know whether it can be.
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
