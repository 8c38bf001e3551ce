//! The role of a generation, and what a failure in it means for the instance.

/// Starts of one slot that may fail, one after the other, before a new generation is given up.
const PATIENCE: u32 = 3;

/// Where a generation stands among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GenerationRole {
    /// The first of all, until its workers serve.
    First,
    /// The one that serves.
    Current,
    /// The one that a reload prepares; the current one serves meanwhile.
    Next,
    /// It finishes what it began, and goes.
    Old,
}

/// What went wrong in a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartFailure {
    /// The application cannot be loaded, or the zygote died over it.
    NotLoaded,
    /// The application cannot be loaded in a worker (`lazy-apps`).
    NotLoadedInWorker {
        /// A worker of this generation serves, or has served.
        served: bool,
    },
    /// A worker died before it could serve.
    FailedStart {
        /// How often, one after the other.
        failures: u32,
    },
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same is tried again, after a pause.
    TryAgain,
    /// The generation is given up; the current one serves on.
    GiveUp,
    /// The instance cannot start.
    Fatal,
}

/// Judges a failure.
pub(super) fn judge(role: GenerationRole, failure: StartFailure) -> Verdict {
    match (role, failure) {
        (
            GenerationRole::First,
            StartFailure::NotLoaded | StartFailure::NotLoadedInWorker { served: false },
        ) => Verdict::Fatal,
        (
            GenerationRole::Next,
            StartFailure::NotLoaded | StartFailure::NotLoadedInWorker { .. },
        ) => Verdict::GiveUp,
        (GenerationRole::Next, StartFailure::FailedStart { failures }) if failures >= PATIENCE => {
            Verdict::GiveUp
        }
        _ => Verdict::TryAgain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_loaded_ends_a_first_start_and_only_gives_up_a_reload() {
        for failure in [
            StartFailure::NotLoaded,
            StartFailure::NotLoadedInWorker { served: false },
        ] {
            assert_eq!(judge(GenerationRole::First, failure), Verdict::Fatal);
            assert_eq!(judge(GenerationRole::Next, failure), Verdict::GiveUp);
            assert_eq!(judge(GenerationRole::Current, failure), Verdict::TryAgain);
        }
    }

    #[test]
    fn a_generation_that_served_is_never_the_end_of_the_instance() {
        let failure = StartFailure::NotLoadedInWorker { served: true };
        assert_eq!(judge(GenerationRole::First, failure), Verdict::TryAgain);
    }

    #[test]
    fn a_reload_bears_two_failed_starts_of_a_worker() {
        let verdicts = [1, 2, 3]
            .map(|failures| judge(GenerationRole::Next, StartFailure::FailedStart { failures }));
        assert_eq!(
            verdicts,
            [Verdict::TryAgain, Verdict::TryAgain, Verdict::GiveUp]
        );
        let failure = StartFailure::FailedStart { failures: 100 };
        assert_eq!(judge(GenerationRole::First, failure), Verdict::TryAgain);
        assert_eq!(judge(GenerationRole::Current, failure), Verdict::TryAgain);
    }
}
