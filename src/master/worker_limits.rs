//! When a worker has reached a limit of age, requests or memory: pure functions over what the scoreboard and /proc report.

use std::fmt;
use std::time::Duration;

/// A growing worker is replaced this long before it would reach its limit: its successor starts meanwhile.
const SUCCESSOR_TIME: Duration = Duration::from_millis(500);
/// Times between two checks.
const SHORTEST_CHECK: Duration = Duration::from_millis(20);
pub(super) const USUAL_CHECK: Duration = Duration::from_millis(250);

/// The limits of a worker. Sizes are bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Limits {
    /// `max-requests`, and the requests by which the limit grows with the worker id (`max-requests-delta`).
    pub(super) requests: Option<u64>,
    pub(super) requests_delta: Option<u64>,
    /// `max-worker-lifetime`, and the time by which it grows with the worker id (`max-worker-lifetime-delta`).
    pub(super) lifetime: Option<Duration>,
    pub(super) lifetime_delta: Option<Duration>,
    /// `min-worker-lifetime`: a younger worker is not replaced for its requests or its size.
    pub(super) min_lifetime: Duration,
    /// `reload-on-rss`, `reload-on-as`.
    pub(super) resident: Option<u64>,
    pub(super) address_space: Option<u64>,
    /// `evil-reload-on-rss`, `evil-reload-on-as`.
    pub(super) evil_resident: Option<u64>,
    pub(super) evil_address_space: Option<u64>,
}

/// Age, requests and memory of a worker at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct WorkerUsage {
    /// The worker's id, from 1.
    pub(super) worker_id: u32,
    pub(super) age: Duration,
    pub(super) requests: u64,
    /// Bytes.
    pub(super) resident: u64,
    pub(super) address_space: u64,
    /// Growth of the resident memory, bytes per second.
    pub(super) growth: u64,
}

/// Why a worker is replaced: the option and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecycleReason {
    Requests(u64),
    Lifetime(u64),
    Resident(u64),
    AddressSpace(u64),
    EvilResident(u64),
    EvilAddressSpace(u64),
    /// An operator asked for it (`ruwsgi kill-worker`).
    Operator,
}

impl fmt::Display for RecycleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Requests(limit) => write!(f, "max-requests = {limit}"),
            Self::Lifetime(limit) => write!(f, "max-worker-lifetime = {limit}"),
            Self::Resident(limit) => write!(f, "reload-on-rss = {}", limit >> 20),
            Self::AddressSpace(limit) => write!(f, "reload-on-as = {}", limit >> 20),
            Self::EvilResident(limit) => write!(f, "evil-reload-on-rss = {}", limit >> 20),
            Self::EvilAddressSpace(limit) => write!(f, "evil-reload-on-as = {}", limit >> 20),
            Self::Operator => f.write_str("kill-worker"),
        }
    }
}

/// What follows from a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitVerdict {
    /// It stays.
    Keep,
    /// A successor takes over from it.
    Recycle(RecycleReason),
    /// It is killed at once.
    Kill(RecycleReason),
}

impl Limits {
    /// Whether any limit is set.
    pub(super) fn any(&self) -> bool {
        self.requests.is_some() || self.lifetime.is_some() || self.needs_memory()
    }

    /// Whether a limit needs the memory of workers.
    pub(super) fn needs_memory(&self) -> bool {
        [
            self.resident,
            self.address_space,
            self.evil_resident,
            self.evil_address_space,
        ]
        .iter()
        .any(Option::is_some)
    }

    /// Checks a worker against the limits.
    pub(super) fn judge(&self, usage: &WorkerUsage) -> LimitVerdict {
        let over = |limit: Option<u64>, size: u64| limit.filter(|limit| size >= *limit);
        if let Some(limit) = over(self.evil_resident, usage.resident) {
            return LimitVerdict::Kill(RecycleReason::EvilResident(limit));
        }
        if let Some(limit) = over(self.evil_address_space, usage.address_space) {
            return LimitVerdict::Kill(RecycleReason::EvilAddressSpace(limit));
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
        let soon = |size: u64| {
            size.saturating_add(usage.growth * SUCCESSOR_TIME.as_millis() as u64 / 1000)
        };
        if let Some(limit) = over(self.resident, soon(usage.resident)) {
            return LimitVerdict::Recycle(RecycleReason::Resident(limit));
        }
        match over(self.address_space, usage.address_space) {
            Some(limit) => LimitVerdict::Recycle(RecycleReason::AddressSpace(limit)),
            None => LimitVerdict::Keep,
        }
    }

    /// Time until the next check of a worker that stays.
    pub(super) fn next_check(&self, usage: &WorkerUsage) -> Duration {
        let Some(limit) = self.resident.filter(|_| usage.growth > 0) else {
            return USUAL_CHECK;
        };
        let left = limit.saturating_sub(usage.resident) as f64 / usage.growth as f64;
        Duration::try_from_secs_f64(left / 4.0)
            .unwrap_or(USUAL_CHECK)
            .clamp(SHORTEST_CHECK, USUAL_CHECK)
    }
}

/// The limit of the worker with this id. Each has a different one, so that not all workers are replaced at once. Without
/// a delta the limits are spread over a sixth of `limit`.
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
            resident: 50 * MIB,
            ..WorkerUsage::default()
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
    fn a_worker_that_grows_is_replaced_before_it_reaches_its_limit() {
        let limits = Limits {
            resident: Some(100 * MIB),
            ..Limits::default()
        };
        assert_eq!(limits.judge(&usage()), LimitVerdict::Keep);
        let growing = WorkerUsage {
            growth: 100 * MIB,
            ..usage()
        };
        assert_eq!(
            limits.judge(&growing),
            LimitVerdict::Recycle(RecycleReason::Resident(100 * MIB))
        );
        let slowly = WorkerUsage {
            growth: 50 * MIB,
            ..usage()
        };
        assert_eq!(limits.judge(&slowly), LimitVerdict::Keep);
        assert_eq!(limits.next_check(&slowly), USUAL_CHECK);
        let fast = WorkerUsage {
            growth: 2000 * MIB,
            ..usage()
        };
        assert_eq!(limits.next_check(&fast), SHORTEST_CHECK);
    }

    #[test]
    fn the_evil_limit_kills_at_any_age() {
        let limits = Limits {
            evil_resident: Some(40 * MIB),
            min_lifetime: Duration::from_secs(100),
            ..Limits::default()
        };
        assert_eq!(
            limits.judge(&usage()),
            LimitVerdict::Kill(RecycleReason::EvilResident(40 * MIB))
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
