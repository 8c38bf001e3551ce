//! The reloads of an instance: what is requested, how far the running one is, and how the last ones ended.

use std::collections::VecDeque;
use std::time::Instant;

use crate::ipc::LoadFailure;

use super::signals::ReloadMode;

/// Results kept for clients that wait for the end of a reload.
const MAX_RESULTS: usize = 8;

/// The reloads of an instance, numbered from 1.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    /// A reload that is requested and not started. Further requests join it.
    requested: Option<ReloadMode>,
    stage: ReloadStage,
    attempt: ImportAttempt,
    /// Number of the reload started last.
    started: u64,
    /// The reload whose generation serves while workers of the old generation may still accept.
    handing_over: Option<u64>,
    /// The last reloads that ended, and the failure of each that failed.
    results: VecDeque<(u64, Option<LoadFailure>)>,
}

/// How far the running reload is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ReloadStage {
    /// No reload is running.
    #[default]
    Idle,
    /// The new configuration is read; the hooks before the load run.
    Hooks(ReloadMode),
    /// A generation with the role `Next` is being prepared.
    Loading(ReloadMode),
}

/// How the application is imported for the running reload.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImportAttempt {
    /// Beside the zygote of the running generation.
    #[default]
    Beside,
    /// That zygote ends, because the import lacks what it holds. The import is repeated when it has exited and the workers have
    /// given up what they inherited, at the latest at `until`.
    Clearing { until: Instant },
    /// Repeated.
    Repeated,
}

impl Reloads {
    /// Requests a reload; a brutal request outranks a graceful one.
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

    /// The mode of the reload whose generation loads or takes over.
    pub(super) fn mode(&self) -> ReloadMode {
        match self.stage {
            ReloadStage::Loading(mode) => mode,
            ReloadStage::Idle | ReloadStage::Hooks(_) => ReloadMode::Graceful,
        }
    }

    /// The mode of the reload whose hooks run.
    pub(super) fn in_hooks(&self) -> Option<ReloadMode> {
        match self.stage {
            ReloadStage::Hooks(mode) => Some(mode),
            ReloadStage::Idle | ReloadStage::Loading(_) => None,
        }
    }

    /// Starts the requested reload, if there is one, with its hooks.
    pub(super) fn start(&mut self) -> Option<ReloadMode> {
        let mode = self.requested.take()?;
        self.started += 1;
        self.stage = ReloadStage::Hooks(mode);
        self.attempt = ImportAttempt::Beside;
        Some(mode)
    }

    /// The hooks have ended, and the new generation is started.
    pub(super) fn load(&mut self, mode: ReloadMode) {
        self.stage = ReloadStage::Loading(mode);
    }

    /// How the application is imported.
    pub(super) fn attempt(&self) -> ImportAttempt {
        match self.stage {
            ReloadStage::Loading(_) => self.attempt,
            ReloadStage::Idle | ReloadStage::Hooks(_) => ImportAttempt::Repeated,
        }
    }

    pub(super) fn set_attempt(&mut self, attempt: ImportAttempt) {
        self.attempt = attempt;
    }

    /// The number that a reload requested now will have at the latest. One that runs already may have read what has
    /// changed since.
    pub(super) fn next_number(&self) -> u64 {
        self.started + 1
    }

    /// The new generation serves; returns how the old one ends.
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

    /// Only the new generation accepts connections; `false` if no reload was handing over.
    pub(super) fn hand_over(&mut self) -> bool {
        let Some(number) = self.handing_over.take() else {
            return false;
        };
        self.end(number, None);
        true
    }

    /// The running reload has failed.
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

    /// The result of the reload with this number, if it has ended: its failure, or none.
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
