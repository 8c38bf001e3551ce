//! The memory limits of workers, as pure functions. The worker itself checks `reload-on-rss` too
//! (`python/src/memory_limit.rs`).

use std::fmt;
use std::time::Duration;

use crate::config::Config;

/// Estimated time until the successor of a worker serves. A growing worker is replaced this long before it is expected
/// to reach its limit.
const SUCCESSOR_TIME: Duration = Duration::from_millis(500);
/// Minimum time between two checks of a worker; `USUAL_CHECK` is the maximum.
const SHORTEST_CHECK: Duration = Duration::from_millis(20);
pub(super) const USUAL_CHECK: Duration = Duration::from_millis(250);

/// The memory limits of a worker, bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct MemoryLimits {
    /// `reload-on-rss`: the worker is replaced.
    pub(super) resident: Option<u64>,
    /// `reload-on-as`: the worker is replaced.
    pub(super) address_space: Option<u64>,
    /// `evil-reload-on-rss`: the worker is killed.
    pub(super) evil_resident: Option<u64>,
    /// `evil-reload-on-as`: the worker is killed.
    pub(super) evil_address_space: Option<u64>,
}

/// The memory of a worker at one moment, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct MemoryUsage {
    pub(super) resident: u64,
    pub(super) address_space: u64,
    /// Growth of the resident memory, bytes per second.
    pub(super) growth: u64,
}

/// The limit that a worker has reached, and its value in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemoryLimit {
    Resident(u64),
    AddressSpace(u64),
    EvilResident(u64),
    EvilAddressSpace(u64),
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (option, limit) = match *self {
            Self::Resident(limit) => ("reload-on-rss", limit),
            Self::AddressSpace(limit) => ("reload-on-as", limit),
            Self::EvilResident(limit) => ("evil-reload-on-rss", limit),
            Self::EvilAddressSpace(limit) => ("evil-reload-on-as", limit),
        };
        write!(f, "{option} = {}", limit >> 20)
    }
}

impl MemoryLimits {
    /// Reads the options of a configuration.
    pub(super) fn new(config: &Config) -> Self {
        let size = |bytes: Option<u64>| bytes.filter(|bytes| *bytes > 0);
        Self {
            resident: size(config.reload_on_rss()),
            address_space: size(config.reload_on_as()),
            evil_resident: size(config.evil_reload_on_rss()),
            evil_address_space: size(config.evil_reload_on_as()),
        }
    }

    /// Whether any limit is set.
    pub(super) fn any(&self) -> bool {
        *self != Self::default()
    }

    /// The limit that a worker with this usage has reached and that kills the worker at once; `None` if there is none.
    pub(super) fn kill_limit(&self, usage: &MemoryUsage) -> Option<MemoryLimit> {
        let resident = reached(self.evil_resident, usage.resident);
        let address_space = || reached(self.evil_address_space, usage.address_space);
        resident
            .map(MemoryLimit::EvilResident)
            .or_else(|| address_space().map(MemoryLimit::EvilAddressSpace))
    }

    /// The limit that a worker with this usage has reached and that replaces the worker; `None` if there is none. For
    /// `reload-on-rss`, the memory by which the worker grows during [`SUCCESSOR_TIME`] is added to its usage.
    pub(super) fn recycle_limit(&self, usage: &MemoryUsage) -> Option<MemoryLimit> {
        let meanwhile = usage.growth * SUCCESSOR_TIME.as_millis() as u64 / 1000;
        let resident = reached(self.resident, usage.resident.saturating_add(meanwhile));
        let address_space = || reached(self.address_space, usage.address_space);
        resident
            .map(MemoryLimit::Resident)
            .or_else(|| address_space().map(MemoryLimit::AddressSpace))
    }

    /// Time until the next check of a worker that is not being replaced. The time is shorter if the worker's growth
    /// brings it near `reload-on-rss`.
    pub(super) fn next_check(&self, usage: &MemoryUsage) -> Duration {
        let Some(limit) = self.resident.filter(|_| usage.growth > 0) else {
            return USUAL_CHECK;
        };
        let left = limit.saturating_sub(usage.resident) as f64 / usage.growth as f64;
        Duration::try_from_secs_f64(left / 4.0)
            .unwrap_or(USUAL_CHECK)
            .clamp(SHORTEST_CHECK, USUAL_CHECK)
    }
}

/// Returns `limit` if it is set and `size` has reached it.
fn reached(limit: Option<u64>, size: u64) -> Option<u64> {
    limit.filter(|limit| size >= *limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_worker_that_grows_is_replaced_before_it_reaches_its_limit() {
        let limits = MemoryLimits {
            resident: Some(100 * MIB),
            ..MemoryLimits::default()
        };
        let growing = |mib: u64| MemoryUsage {
            resident: 50 * MIB,
            address_space: 0,
            growth: mib * MIB,
        };
        assert_eq!(limits.recycle_limit(&growing(0)), None);
        let limit = Some(MemoryLimit::Resident(100 * MIB));
        assert_eq!(limits.recycle_limit(&growing(100)), limit);
        assert_eq!(limits.recycle_limit(&growing(50)), None);
        assert_eq!(limits.next_check(&growing(50)), USUAL_CHECK);
        assert_eq!(limits.next_check(&growing(2000)), SHORTEST_CHECK);
    }
}
