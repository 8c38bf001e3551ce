//! Reloads: the import is repeated without the zygote of the running generation, if both cannot exist at the same time.

use std::time::{Duration, Instant};

use crate::ipc::LoadFailure;
use crate::master::import_conflict::{self, Import};
use crate::master::reloads::ImportAttempt;
use crate::master::report;
use crate::master::role::GenerationRole;

use super::master::Master;

/// Maximum wait for the processes that hold what the import takes.
const CLEARING_TIME: Duration = Duration::from_secs(5);

impl Master {
    /// Repeats the import of a reload, if it lacks ports or locks that the import of the running generation holds. `next` is
    /// the generation of the reload, `failure` that of its import, if it failed. False if it need not be repeated.
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

    /// Starts the repeated import when no process holds what it takes.
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
            // it is the same generation for an operator
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
