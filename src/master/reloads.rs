//! The reloads of an instance: the requested reload, the stage of the running reload, and the results of the last
//! reloads.

use std::collections::VecDeque;
use std::time::Instant;

use crate::ipc::LoadFailure;

use super::signals::ReloadMode;

/// Maximum number of results kept for clients that wait for the end of a reload.
const MAX_RESULTS: usize = 8;

/// The reloads of an instance, numbered from 1.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    /// The mode of the reload that is requested and has not started. Further requests join this reload.
    requested: Option<ReloadMode>,
    stage: ReloadStage,
    attempt: ImportAttempt,
    /// Number of the reload started last.
    started: u64,
    /// Number of the reload that is handing over: its generation serves, and workers of the old generation may still
    /// accept connections.
    handing_over: Option<u64>,
    /// The results of the last reloads, oldest first: the number, and the failure if the reload failed.
    results: VecDeque<(u64, Option<LoadFailure>)>,
}

/// The stage of the running reload.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ReloadStage {
    /// No reload is running.
    #[default]
    Idle,
    /// The new configuration is read. Then the hooks that precede the load of the application run.
    Hooks(ReloadMode),
    /// A generation with the role `Next` is being prepared.
    Loading(ReloadMode),
}

/// The progress of the import of the application in the running reload.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImportAttempt {
    /// The application is imported while the zygote of the running generation exists.
    #[default]
    Beside,
    /// The zygote of the running generation ends, because it holds ports or locks that the new import needs. The import
    /// is repeated when that zygote has exited and the workers have released the ports and locks that they inherited
    /// from it, at the latest at `until`.
    Clearing { until: Instant },
    /// The import is repeated without the zygote of the running generation. It is not repeated again.
    Repeated,
}

impl Reloads {
    /// Requests a reload. A brutal request replaces a graceful request.
    pub(super) fn request(&mut self, mode: ReloadMode) {
        self.requested = self.requested.max(Some(mode));
    }

    /// Whether a requested reload can start at once.
    pub(super) fn can_start(&self) -> bool {
        self.requested.is_some() && self.stage == ReloadStage::Idle
    }

    /// Whether a reload is requested that has not started.
    pub(super) fn is_requested(&self) -> bool {
        self.requested.is_some()
    }

    /// Whether a reload is requested or running.
    pub(super) fn is_active(&self) -> bool {
        self.requested.is_some() || self.stage != ReloadStage::Idle
    }

    /// Whether a new generation is being prepared.
    pub(super) fn is_loading(&self) -> bool {
        matches!(self.stage, ReloadStage::Loading(_))
    }

    /// The mode of the reload whose generation is being prepared; graceful if no generation is being prepared.
    pub(super) fn mode(&self) -> ReloadMode {
        match self.stage {
            ReloadStage::Loading(mode) => mode,
            ReloadStage::Idle | ReloadStage::Hooks(_) => ReloadMode::Graceful,
        }
    }

    /// The mode of the reload whose hooks run; `None` if no reload is in this stage.
    pub(super) fn in_hooks(&self) -> Option<ReloadMode> {
        match self.stage {
            ReloadStage::Hooks(mode) => Some(mode),
            ReloadStage::Idle | ReloadStage::Loading(_) => None,
        }
    }

    /// Starts the requested reload: it gets the next number and enters the stage of its hooks. Returns its mode; `None`
    /// if no reload is requested.
    pub(super) fn start(&mut self) -> Option<ReloadMode> {
        let mode = self.requested.take()?;
        self.started += 1;
        self.stage = ReloadStage::Hooks(mode);
        self.attempt = ImportAttempt::Beside;
        Some(mode)
    }

    /// Records that the hooks have ended and the new generation is started.
    pub(super) fn load(&mut self, mode: ReloadMode) {
        self.stage = ReloadStage::Loading(mode);
    }

    /// The progress of the import in the running reload. The result is [`ImportAttempt::Repeated`] if no reload is
    /// loading, so that no import is repeated.
    pub(super) fn attempt(&self) -> ImportAttempt {
        match self.stage {
            ReloadStage::Loading(_) => self.attempt,
            ReloadStage::Idle | ReloadStage::Hooks(_) => ImportAttempt::Repeated,
        }
    }

    pub(super) fn set_attempt(&mut self, attempt: ImportAttempt) {
        self.attempt = attempt;
    }

    /// The number of the reload that a request made now waits for. This is never the running reload, which may have
    /// read the files before their last change.
    pub(super) fn next_number(&self) -> u64 {
        self.started + 1
    }

    /// Records that the new generation serves, and that its reload is handing over. Returns how the old generation
    /// ends.
    pub(super) fn take_over(&mut self) -> ReloadMode {
        let mode = match std::mem::take(&mut self.stage) {
            ReloadStage::Loading(mode) | ReloadStage::Hooks(mode) => mode,
            ReloadStage::Idle => ReloadMode::Graceful,
        };
        if let Some(earlier) = self.handing_over.replace(self.started) {
            self.end(earlier, None);
        }
        mode
    }

    /// Records that only the new generation accepts connections, which ends its reload with success. Returns `false` if
    /// no reload was handing over.
    pub(super) fn hand_over(&mut self) -> bool {
        let Some(number) = self.handing_over.take() else {
            return false;
        };
        self.end(number, None);
        true
    }

    /// Records that the running reload has failed.
    pub(super) fn fail(&mut self, failure: LoadFailure) {
        self.stage = ReloadStage::Idle;
        self.end(self.started, Some(failure));
    }

    fn end(&mut self, number: u64, failure: Option<LoadFailure>) {
        if self.results.len() >= MAX_RESULTS {
            self.results.pop_front();
        }
        self.results.push_back((number, failure));
    }

    /// The result of the reload with this number: `Some(None)` for success, `Some(Some(_))` for a failure. `None` if
    /// the reload has not ended, or if its result is no longer kept.
    pub(super) fn result(&self, number: u64) -> Option<Option<&LoadFailure>> {
        let mut results = self.results.iter();
        let (_, failure) = results.find(|(known, _)| *known == number)?;
        Some(failure.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_request_waits_for_the_end_of_the_running_reload() {
        let mut reloads = Reloads::default();
        reloads.request(ReloadMode::Graceful);
        assert!(reloads.can_start());
        assert_eq!(reloads.start(), Some(ReloadMode::Graceful));
        reloads.load(ReloadMode::Graceful);
        reloads.request(ReloadMode::Brutal);
        assert!(!reloads.can_start() && reloads.is_loading());
        assert_eq!(reloads.take_over(), ReloadMode::Graceful);
        assert!(reloads.can_start());
        assert_eq!(reloads.start(), Some(ReloadMode::Brutal));
    }

    #[test]
    fn a_reload_ends_when_it_has_handed_over_or_failed() {
        let mut reloads = Reloads::default();
        reloads.request(ReloadMode::Graceful);
        reloads.start();
        reloads.load(ReloadMode::Graceful);
        reloads.take_over();
        assert_eq!(reloads.result(1), None);
        assert!(reloads.hand_over() && !reloads.hand_over());
        assert_eq!(reloads.result(1), Some(None));
        reloads.request(ReloadMode::Graceful);
        reloads.start();
        reloads.fail("no module".to_owned().into());
        assert!(!reloads.is_active());
        assert!(reloads.result(2).is_some_and(|failure| failure.is_some()));
    }
}
