//! Reloads: the import is repeated after the zygote of the running generation has ended, if both imports need the same
//! ports or locks.

use std::time::{Duration, Instant};

use crate::ipc::LoadFailure;
use crate::master::import_conflict::{self, Import};
use crate::master::reloads::ImportAttempt;
use crate::master::report;
use crate::master::role::GenerationRole;

use super::master::Master;

/// Maximum wait for the processes that hold the ports and locks that the import needs.
const CLEARING_TIME: Duration = Duration::from_secs(5);

impl Master {
    /// Repeats the import of a reload if it lacks ports or locks that the import of the running generation holds. Kills
    /// the reload's generation `next`, ends the zygote of the running generation, and asks all workers to release the
    /// ports and locks. `failure` is the failure of the import in `next`; `None` if the import succeeded. Returns
    /// `false` if the import need not be repeated, or was repeated already.
    pub(super) fn repeat_import(
        &mut self,
        next: usize,
        failure: Option<&LoadFailure>,
        now: Instant,
    ) -> bool {
        let is_first = self.reloads.attempt() == ImportAttempt::Beside;
        let Some(current) = self.current().filter(|_| is_first) else {
            return false;
        };
        let import = match failure {
            Some(failure) => Import::Failed(failure),
            None => Import::Loaded(self.generations[next].taken()),
        };
        let lacking = import_conflict::lacking(current.taken(), import);
        let Some(pid) = current.zygote.pid().filter(|_| !lacking.is_empty()) else {
            return false;
        };
        report::import_repeated(&lacking, failure, pid);
        self.generations[next].kill(now);
        for generation in &mut self.generations {
            match generation.role {
                GenerationRole::Current => generation.yield_import(now),
                _ => generation.release_import(),
            }
        }
        let until = now + CLEARING_TIME;
        self.reloads.set_attempt(ImportAttempt::Clearing { until });
        true
    }

    /// Starts the repeated import when no process holds the ports and locks of the earlier import, at the latest after
    /// [`CLEARING_TIME`].
    pub(super) fn continue_repeated_import(&mut self, now: Instant) {
        let ImportAttempt::Clearing { until } = self.reloads.attempt() else {
            return;
        };
        if now < until && !self.generations.iter().all(|it| it.has_released()) {
            return;
        }
        self.reloads.set_attempt(ImportAttempt::Repeated);
        let last = self.last_generation;
        if self.generations.iter().all(|it| it.number != last) {
            // the repeated import gets the number of the killed generation, because an operator sees both as one
            // generation
            self.last_generation -= 1;
        }
        let started = self.instance.next_plan().and_then(|plan| {
            self.start_generation(GenerationRole::Next, plan, now)?;
            Ok(())
        });
        if let Err(reason) = started {
            report::reload_refused(&reason);
            self.reload_failed(format!("{reason:#}").into());
        }
    }
}
