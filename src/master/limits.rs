//! When a worker is old, used up or too large: pure verdicts over what the scoreboard and /proc say of it.

use std::fmt;
use std::time::Duration;

/// A worker that grows is replaced this long before it would reach its limit: its successor has to be born meanwhile.
const AHEAD: Duration = Duration::from_millis(500);
/// The times between two looks.
const SOONEST: Duration = Duration::from_millis(20);
pub(super) const USUAL: Duration = Duration::from_millis(250);

/// What a worker may become. Sizes are bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Limits {
    /// `max-requests`, and what each further worker is allowed more (`max-requests-delta`).
    pub(super) requests: Option<u64>,
    pub(super) requests_delta: Option<u64>,
    /// `max-worker-lifetime`, and the same of it.
    pub(super) lifetime: Option<Duration>,
    pub(super) lifetime_delta: Option<Duration>,
    /// `min-worker-lifetime`: no younger one is replaced for its requests or its size.
    pub(super) min_lifetime: Duration,
    /// `reload-on-rss`, `reload-on-as`.
    pub(super) resident: Option<u64>,
    pub(super) address_space: Option<u64>,
    /// `evil-reload-on-rss`, `evil-reload-on-as`.
    pub(super) evil_resident: Option<u64>,
    pub(super) evil_address_space: Option<u64>,
}

/// What a worker is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Look {
    /// Its number, from 1.
    pub(super) number: u32,
    pub(super) age: Duration,
    pub(super) requests: u64,
    /// Bytes.
    pub(super) resident: u64,
    pub(super) address_space: u64,
    /// How fast it grows, bytes per second.
    pub(super) growth: u64,
}

/// Why a worker is replaced: the option that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Requests(u64),
    Lifetime(u64),
    Resident(u64),
    AddressSpace(u64),
    EvilResident(u64),
    EvilAddressSpace(u64),
    /// An operator wants it.
    Asked,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Requests(limit) => write!(f, "max-requests = {limit}"),
            Self::Lifetime(limit) => write!(f, "max-worker-lifetime = {limit}"),
            Self::Resident(limit) => write!(f, "reload-on-rss = {}", limit >> 20),
            Self::AddressSpace(limit) => write!(f, "reload-on-as = {}", limit >> 20),
            Self::EvilResident(limit) => write!(f, "evil-reload-on-rss = {}", limit >> 20),
            Self::EvilAddressSpace(limit) => write!(f, "evil-reload-on-as = {}", limit >> 20),
            Self::Asked => f.write_str("kill-worker"),
        }
    }
}

/// What follows from a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Stays,
    /// Another one takes over from it, when it can.
    Recycle(Reason),
    /// It is killed at once.
    Kill(Reason),
}

impl Limits {
    /// Whether workers have to be looked at.
    pub(super) fn any(&self) -> bool {
        self.requests.is_some() || self.lifetime.is_some() || self.needs_memory()
    }

    /// Whether their memory has to be known.
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

    /// Judges a worker.
    pub(super) fn judge(&self, look: &Look) -> Verdict {
        let over = |limit: Option<u64>, size: u64| limit.filter(|limit| size >= *limit);
        if let Some(limit) = over(self.evil_resident, look.resident) {
            return Verdict::Kill(Reason::EvilResident(limit));
        }
        if let Some(limit) = over(self.evil_address_space, look.address_space) {
            return Verdict::Kill(Reason::EvilAddressSpace(limit));
        }
        if let Some(limit) = self.lifetime
            && look.age >= spread(limit, self.lifetime_delta, look.number)
        {
            return Verdict::Recycle(Reason::Lifetime(limit.as_secs()));
        }
        if look.age < self.min_lifetime {
            return Verdict::Stays;
        }
        if let Some(limit) = self.requests {
            let seconds = Duration::from_secs;
            let allowed = spread(
                seconds(limit),
                self.requests_delta.map(seconds),
                look.number,
            );
            if look.requests >= allowed.as_secs() {
                return Verdict::Recycle(Reason::Requests(limit));
            }
        }
        let soon = |size: u64| size.saturating_add(look.growth * AHEAD.as_millis() as u64 / 1000);
        if let Some(limit) = over(self.resident, soon(look.resident)) {
            return Verdict::Recycle(Reason::Resident(limit));
        }
        match over(self.address_space, look.address_space) {
            Some(limit) => Verdict::Recycle(Reason::AddressSpace(limit)),
            None => Verdict::Stays,
        }
    }

    /// When to look again at a worker that stays.
    pub(super) fn again(&self, look: &Look) -> Duration {
        let Some(limit) = self.resident.filter(|_| look.growth > 0) else {
            return USUAL;
        };
        let left = limit.saturating_sub(look.resident) as f64 / look.growth as f64;
        Duration::try_from_secs_f64(left / 4.0)
            .unwrap_or(USUAL)
            .clamp(SOONEST, USUAL)
    }
}

/// A limit of the worker with this number: each has another one, so that they do not all go at once. Without a delta
/// they are spread over a sixth of the limit.
fn spread(limit: Duration, delta: Option<Duration>, number: u32) -> Duration {
    let later = number.saturating_sub(1);
    match delta {
        Some(delta) => limit.saturating_add(delta.saturating_mul(later)),
        None => limit.saturating_add(limit.saturating_mul(later % 8) / 48),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn look() -> Look {
        Look {
            number: 1,
            age: Duration::from_secs(60),
            requests: 100,
            resident: 50 * MIB,
            ..Look::default()
        }
    }

    #[test]
    fn a_worker_is_replaced_after_so_many_requests_but_not_in_its_first_seconds() {
        let limits = Limits {
            requests: Some(100),
            min_lifetime: Duration::from_secs(10),
            ..Limits::default()
        };
        assert_eq!(
            limits.judge(&look()),
            Verdict::Recycle(Reason::Requests(100))
        );
        let young = Look {
            age: Duration::from_secs(9),
            ..look()
        };
        assert_eq!(limits.judge(&young), Verdict::Stays);
    }

    #[test]
    fn each_worker_has_another_limit() {
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
        assert_eq!(limits.judge(&look()), Verdict::Stays);
        let growing = Look {
            growth: 100 * MIB,
            ..look()
        };
        assert_eq!(
            limits.judge(&growing),
            Verdict::Recycle(Reason::Resident(100 * MIB))
        );
        let slowly = Look {
            growth: 50 * MIB,
            ..look()
        };
        assert_eq!(limits.judge(&slowly), Verdict::Stays);
        assert_eq!(limits.again(&slowly), USUAL);
        let fast = Look {
            growth: 2000 * MIB,
            ..look()
        };
        assert_eq!(limits.again(&fast), SOONEST);
    }

    #[test]
    fn the_evil_limit_kills_whatever_the_age() {
        let limits = Limits {
            evil_resident: Some(40 * MIB),
            min_lifetime: Duration::from_secs(100),
            ..Limits::default()
        };
        assert_eq!(
            limits.judge(&look()),
            Verdict::Kill(Reason::EvilResident(40 * MIB))
        );
    }

    #[test]
    fn a_worker_has_its_time() {
        let limits = Limits {
            lifetime: Some(Duration::from_secs(59)),
            ..Limits::default()
        };
        assert_eq!(
            limits.judge(&look()),
            Verdict::Recycle(Reason::Lifetime(59))
        );
    }
}
