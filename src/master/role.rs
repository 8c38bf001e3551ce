//! The role of a generation, and the master's response to a failed start in a generation with this role.

/// Consecutive failed starts of a worker after which a reload abandons the new generation.
const MAX_FAILED_STARTS: u32 = 3;

/// The role of a generation in relation to the other generations of the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GenerationRole {
    /// The first generation of the instance, until its workers serve.
    First,
    /// The generation that serves.
    Current,
    /// The generation that a reload prepares. The current generation serves meanwhile.
    Next,
    /// The generation of a reload, after it has loaded the application. Its workers replace the workers of the current
    /// generation one after the other.
    TakingOver,
    /// A replaced generation: its workers finish their requests and exit.
    Old,
}

impl GenerationRole {
    /// Whether the generation belongs to a reload that has not ended.
    pub(super) fn is_of_reload(self) -> bool {
        matches!(self, Self::Next | Self::TakingOver)
    }
}

/// A failed start in a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartFailure {
    /// The zygote cannot load the application, or died during the load.
    NotLoaded,
    /// A worker cannot load the application (`lazy-apps`).
    NotLoadedInWorker {
        /// Whether a worker of this generation serves or has served.
        served: bool,
    },
    /// A worker died before it could serve.
    WorkerDied {
        /// Consecutive failed starts in the worker's slot.
        failures: u32,
    },
}

/// The master's response to a failed start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureResponse {
    /// The start is retried after a pause.
    Retry,
    /// The generation is abandoned; the current generation continues to serve.
    AbandonGeneration,
    /// The instance cannot start.
    StopInstance,
}

/// Returns the master's response to a failed start in a generation with this role.
pub(super) fn response_to(role: GenerationRole, failure: StartFailure) -> FailureResponse {
    match (role, failure) {
        (
            GenerationRole::First,
            StartFailure::NotLoaded | StartFailure::NotLoadedInWorker { served: false },
        ) => FailureResponse::StopInstance,
        (
            GenerationRole::Next | GenerationRole::TakingOver,
            StartFailure::NotLoaded | StartFailure::NotLoadedInWorker { .. },
        ) => FailureResponse::AbandonGeneration,
        (
            GenerationRole::Next | GenerationRole::TakingOver,
            StartFailure::WorkerDied { failures },
        ) if failures >= MAX_FAILED_STARTS => FailureResponse::AbandonGeneration,
        _ => FailureResponse::Retry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_load_stops_the_first_start_and_only_abandons_a_reload() {
        for failure in [
            StartFailure::NotLoaded,
            StartFailure::NotLoadedInWorker { served: false },
        ] {
            assert_eq!(
                response_to(GenerationRole::First, failure),
                FailureResponse::StopInstance
            );
            assert_eq!(
                response_to(GenerationRole::Next, failure),
                FailureResponse::AbandonGeneration
            );
            assert_eq!(
                response_to(GenerationRole::Current, failure),
                FailureResponse::Retry
            );
        }
    }

    #[test]
    fn a_failure_after_serving_never_stops_the_instance() {
        let failure = StartFailure::NotLoadedInWorker { served: true };
        assert_eq!(
            response_to(GenerationRole::First, failure),
            FailureResponse::Retry
        );
    }

    #[test]
    fn a_reload_tolerates_two_failed_starts_of_a_worker() {
        let verdicts = [1, 2, 3].map(|failures| {
            response_to(
                GenerationRole::TakingOver,
                StartFailure::WorkerDied { failures },
            )
        });
        assert_eq!(
            verdicts,
            [
                FailureResponse::Retry,
                FailureResponse::Retry,
                FailureResponse::AbandonGeneration
            ]
        );
        let failure = StartFailure::WorkerDied { failures: 100 };
        assert_eq!(
            response_to(GenerationRole::First, failure),
            FailureResponse::Retry
        );
        assert_eq!(
            response_to(GenerationRole::Current, failure),
            FailureResponse::Retry
        );
    }
}
