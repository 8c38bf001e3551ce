//! The limits on a worker's age, requests and memory: pure functions over the values of the scoreboard and /proc.
//! `memory_limits.rs` has the memory limits.

use std::fmt;
use std::time::Duration;

use super::memory_limits::{MemoryLimit, MemoryLimits, MemoryUsage};

/// The limits of a worker.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Limits {
    /// Maximum number of requests of the worker with id 1 (`max-requests`), and the number added for each following id
    /// (`max-requests-delta`).
    pub(super) requests: Option<u64>,
    pub(super) requests_delta: Option<u64>,
    /// Maximum age of the worker with id 1 (`max-worker-lifetime`), and the time added for each following id
    /// (`max-worker-lifetime-delta`).
    pub(super) lifetime: Option<Duration>,
    pub(super) lifetime_delta: Option<Duration>,
    /// Minimum age (`min-worker-lifetime`). A younger worker is not replaced because of its requests or its memory.
    pub(super) min_lifetime: Duration,
    pub(super) memory: MemoryLimits,
}

/// Age, requests and memory of a worker at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct WorkerUsage {
    /// The worker's id, from 1.
    pub(super) worker_id: u32,
    pub(super) age: Duration,
    pub(super) requests: u64,
    pub(super) memory: MemoryUsage,
}

/// The reason to replace or kill a worker: a limit with its configured value, or an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecycleReason {
    Requests(u64),
    Lifetime(u64),
    Memory(MemoryLimit),
    /// An operator requested the replacement (`ruwsgi kill-worker`).
    Operator,
}

impl fmt::Display for RecycleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Requests(limit) => write!(f, "max-requests = {limit}"),
            Self::Lifetime(limit) => write!(f, "max-worker-lifetime = {limit}"),
            Self::Memory(limit) => limit.fmt(f),
            Self::Operator => f.write_str("kill-worker"),
        }
    }
}

/// The result of a check of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitVerdict {
    /// The worker stays.
    Keep,
    /// The worker is replaced by a successor.
    Recycle(RecycleReason),
    /// The worker is killed at once.
    Kill(RecycleReason),
}

impl Limits {
    /// Whether any limit is set.
    pub(super) fn any(&self) -> bool {
        self.requests.is_some() || self.lifetime.is_some() || self.memory.any()
    }

    /// Checks a worker against the limits.
    pub(super) fn judge(&self, usage: &WorkerUsage) -> LimitVerdict {
        if let Some(limit) = self.memory.kill_limit(&usage.memory) {
            return LimitVerdict::Kill(RecycleReason::Memory(limit));
        }
        if let Some(limit) = self.lifetime
            && usage.age >= spread(limit, self.lifetime_delta, usage.worker_id)
        {
            return LimitVerdict::Recycle(RecycleReason::Lifetime(limit.as_secs()));
        }
        if usage.age < self.min_lifetime {
            return LimitVerdict::Keep;
        }
        if let Some(limit) = self.requests {
            let seconds = Duration::from_secs;
            let allowed = spread(
                seconds(limit),
                self.requests_delta.map(seconds),
                usage.worker_id,
            );
            if usage.requests >= allowed.as_secs() {
                return LimitVerdict::Recycle(RecycleReason::Requests(limit));
            }
        }
        match self.memory.recycle_limit(&usage.memory) {
            Some(limit) => LimitVerdict::Recycle(RecycleReason::Memory(limit)),
            None => LimitVerdict::Keep,
        }
    }
}

/// Returns the limit of the worker with this id. The limits of the workers differ, so that not all workers are replaced
/// at the same time. Worker 1 gets `limit`, and each next id gets `delta` more. Without a delta, each next id gets 1/48
/// of `limit` more, and every eighth worker starts again at `limit`.
fn spread(limit: Duration, delta: Option<Duration>, worker_id: u32) -> Duration {
    let later = worker_id.saturating_sub(1);
    match delta {
        Some(delta) => limit.saturating_add(delta.saturating_mul(later)),
        None => limit.saturating_add(limit.saturating_mul(later % 8) / 48),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn usage() -> WorkerUsage {
        WorkerUsage {
            worker_id: 1,
            age: Duration::from_secs(60),
            requests: 100,
            memory: MemoryUsage {
                resident: 50 * MIB,
                ..MemoryUsage::default()
            },
        }
    }

    #[test]
    fn a_worker_is_replaced_after_max_requests_but_not_in_its_first_seconds() {
        let limits = Limits {
            requests: Some(100),
            min_lifetime: Duration::from_secs(10),
            ..Limits::default()
        };
        assert_eq!(
            limits.judge(&usage()),
            LimitVerdict::Recycle(RecycleReason::Requests(100))
        );
        let young = WorkerUsage {
            age: Duration::from_secs(9),
            ..usage()
        };
        assert_eq!(limits.judge(&young), LimitVerdict::Keep);
    }

    #[test]
    fn each_worker_has_a_different_limit() {
        let limit = Duration::from_secs(4800);
        let limits: Vec<_> = (1..=3)
            .map(|number| spread(limit, None, number).as_secs())
            .collect();
        assert_eq!(limits, [4800, 4900, 5000]);
        let delta = Some(Duration::from_secs(7));
        assert_eq!(spread(limit, delta, 3).as_secs(), 4814);
    }

    #[test]
    fn the_evil_limit_kills_at_any_age() {
        let limits = Limits {
            memory: MemoryLimits {
                evil_resident: Some(40 * MIB),
                ..MemoryLimits::default()
            },
            min_lifetime: Duration::from_secs(100),
            ..Limits::default()
        };
        assert_eq!(
            limits.judge(&usage()),
            LimitVerdict::Kill(RecycleReason::Memory(MemoryLimit::EvilResident(40 * MIB)))
        );
    }

    #[test]
    fn a_worker_is_replaced_after_its_lifetime() {
        let limits = Limits {
            lifetime: Some(Duration::from_secs(59)),
            ..Limits::default()
        };
        assert_eq!(
            limits.judge(&usage()),
            LimitVerdict::Recycle(RecycleReason::Lifetime(59))
        );
    }
}
