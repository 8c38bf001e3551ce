//! The worker ids in use. Two processes should not have the same worker id, because libraries derive file names and
//! ports from it.
//!
//! A worker therefore gets its id when the process that had the id before has exited. The last request of that process
//! may take long, so the wait ends after `worker-id-timeout`.

use std::time::{Duration, Instant};

use crate::sys::process::Pid;

/// A process that has a worker id.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct IdHolder {
    pub(super) worker_id: u32,
    pub(super) pid: Pid,
    /// The time at which the process began to leave; `None` if it does not leave.
    pub(super) leaving_since: Option<Instant>,
}

/// Whether a worker can get an id.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Gate {
    /// A process that is not leaving has the id.
    Closed,
    /// A leaving process has the id. The gate opens at this time at the latest.
    ClosedUntil(Instant),
    Open {
        /// A process that still has the id, although it began to leave more than `worker-id-timeout` ago.
        beside: Option<Pid>,
    },
}

/// The worker ids that a generation may use. During a reload two generations share them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    All,
    /// The ids up to and including this id, which the new generation has taken over.
    UpTo(u32),
    /// The ids above this id, which the old generation still has.
    Above(u32),
}

impl Share {
    pub(super) fn contains(self, worker_id: u32) -> bool {
        match self {
            Self::All => true,
            Self::UpTo(last) => worker_id <= last,
            Self::Above(last) => worker_id > last,
        }
    }
}

/// Returns whether a worker can get the id `worker_id`. `holders`: the existing processes that have a worker id.
pub(super) fn gate(holders: &[IdHolder], worker_id: u32, timeout: Duration, now: Instant) -> Gate {
    let mut gate = Gate::Open { beside: None };
    for holder in holders.iter().filter(|it| it.worker_id == worker_id) {
        let Some(since) = holder.leaving_since else {
            return Gate::Closed;
        };
        let end = since + timeout;
        gate = match gate {
            Gate::ClosedUntil(other) => Gate::ClosedUntil(other.max(end)),
            _ if end > now => Gate::ClosedUntil(end),
            _ => Gate::Open {
                beside: Some(holder.pid),
            },
        };
    }
    gate
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn holder(worker_id: u32, leaving_since: Option<Instant>) -> IdHolder {
        IdHolder {
            worker_id,
            pid: Pid::new(71).unwrap(),
            leaving_since,
        }
    }

    #[test]
    fn an_id_that_no_process_has_is_free() {
        let now = Instant::now();
        let others = [holder(1, None), holder(3, Some(now))];
        assert_eq!(gate(&others, 2, TIMEOUT, now), Gate::Open { beside: None });
    }

    #[test]
    fn the_id_of_a_process_that_stays_is_never_free() {
        let now = Instant::now();
        let holders = [holder(2, Some(now - 2 * TIMEOUT)), holder(2, None)];
        assert_eq!(gate(&holders, 2, TIMEOUT, now), Gate::Closed);
    }

    #[test]
    fn the_id_of_a_process_that_leaves_is_free_after_the_timeout() {
        let now = Instant::now();
        let holders = [holder(2, Some(now - TIMEOUT)), holder(2, Some(now))];
        assert_eq!(
            gate(&holders, 2, TIMEOUT, now),
            Gate::ClosedUntil(now + TIMEOUT)
        );
        assert_eq!(
            gate(&holders, 2, TIMEOUT, now + TIMEOUT),
            Gate::Open {
                beside: Pid::new(71)
            }
        );
    }
}
