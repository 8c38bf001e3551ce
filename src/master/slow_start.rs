//! Reports in the log that a process has not finished its start. The time of each report follows from a pure function of
//! the state and the current time.
//!
//! ```text
//!           due           0.5 s
//!  Waiting ─────▶ Probed ───────▶ Waiting, twice as long
//! ```

use std::time::{Duration, Instant};

use crate::sys::process::Pid;

/// Time from the start of a process to the first report, and from the first report to the second. Each later pause is
/// twice the previous pause.
const FIRST_REPORT: Duration = Duration::from_secs(10);

/// Maximum number of doublings. After that, the pause stays the same.
const MAX_DOUBLINGS: u32 = 6;

/// Time between the step signal and the stack signal. A process whose Python code advances handles the step signal
/// within this time.
const PROBE_TIME: Duration = Duration::from_millis(500);

/// Minimum of [`patience`].
const MIN_PATIENCE: Duration = Duration::from_secs(20);

/// Returns the maximum time of a start during a reload while another reload is requested. A process that needs longer
/// ends the running reload. `usual`: the duration of the longest start in the running generation.
pub(super) fn patience(usual: Duration) -> Duration {
    MIN_PATIENCE.max(3 * usual)
}

/// A process that has not finished its start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SlowStart {
    /// The process id.
    pub(super) pid: Pid,
    /// The time at which the process was started.
    pub(super) since: Instant,
    reports: u32,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// The next report is due at this time.
    Waiting(Instant),
    /// The step signal was sent, which asks the process whether its Python code advances. The report follows at this
    /// time.
    Probed(Instant),
}

/// The action that follows from a check of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    /// Send the step signal.
    Probe,
    /// Write a line to the log and send the stack signal.
    Report,
}

impl SlowStart {
    /// Creates the state of a process that was started at `since`.
    pub(super) fn new(pid: Pid, since: Instant) -> Self {
        Self {
            pid,
            since,
            reports: 0,
            stage: Stage::Waiting(since + FIRST_REPORT),
        }
    }

    /// The time at which [`Self::step`] is due.
    pub(super) fn deadline(&self) -> Instant {
        match self.stage {
            Stage::Waiting(due) | Stage::Probed(due) => due,
        }
    }

    /// Returns the next state, and the action for the caller to perform.
    pub(super) fn step(self, now: Instant) -> (Self, Action) {
        match self.stage {
            _ if now < self.deadline() => (self, Action::Nothing),
            Stage::Waiting(_) => {
                let stage = Stage::Probed(now + PROBE_TIME);
                (Self { stage, ..self }, Action::Probe)
            }
            Stage::Probed(_) => {
                let pause = FIRST_REPORT * 2u32.pow(self.reports.min(MAX_DOUBLINGS));
                let next = Self {
                    reports: self.reports.saturating_add(1),
                    stage: Stage::Waiting(now + pause),
                    ..self
                };
                (next, Action::Report)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reports_follow_at_growing_intervals() {
        let start = Instant::now();
        let mut it = SlowStart::new(Pid::own(), start);
        assert_eq!(it.step(start + Duration::from_secs(9)).1, Action::Nothing);
        let mut seconds = Vec::new();
        for _ in 0..9 {
            let (probed, action) = it.step(it.deadline());
            assert_eq!(action, Action::Probe);
            assert_eq!(probed.step(it.deadline()).1, Action::Nothing);
            let (next, action) = probed.step(probed.deadline());
            assert_eq!(action, Action::Report);
            seconds.push((it.deadline() - start).as_secs());
            it = next;
        }
        assert_eq!(seconds, [10, 20, 41, 81, 162, 322, 643, 1283, 1924]);
    }
}
