//! Decides whether the import of a reload must be repeated without the zygote of the running generation.
//!
//! The import must be repeated if both imports take the same port or lock. The second import then fails, or continues
//! without the port or lock. The new generation would then never get it, although the old generation releases it at its
//! end.

use crate::ipc::LoadFailure;

/// Exceptions that a mistake in the application's code causes, not a port or lock of another process.
const FAULTS_OF_CODE: [&str; 13] = [
    "SyntaxError",
    "IndentationError",
    "TabError",
    "ImportError",
    "ModuleNotFoundError",
    "NameError",
    "UnboundLocalError",
    "AttributeError",
    "TypeError",
    "KeyError",
    "IndexError",
    "ZeroDivisionError",
    "django.core.exceptions.ImproperlyConfigured",
];

/// The result of an import in a reload.
#[derive(Clone, Copy, Debug)]
pub(super) enum Import<'a> {
    /// The import has succeeded, and has taken these ports and locks.
    Loaded(&'a [String]),
    Failed(&'a LoadFailure),
}

/// The ports and locks that the import of the reload did not get, so that it must be repeated; empty if a repetition is
/// not needed. `held` are the ports and locks that the import of the running generation holds. A failed import counts
/// as lacking all of `held`, unless the application's code caused the failure.
pub(super) fn lacking<'a>(held: &'a [String], import: Import<'_>) -> Vec<&'a str> {
    let lacks = |name: &&String| match import {
        Import::Loaded(taken) => !taken.contains(name),
        Import::Failed(failure) => !is_fault_of_code(failure),
    };
    held.iter().filter(lacks).map(String::as_str).collect()
}

/// Whether the traceback ends with an exception of [`FAULTS_OF_CODE`].
fn is_fault_of_code(failure: &LoadFailure) -> bool {
    let last = failure.traceback.trim_end().lines().next_back();
    let exception = last.and_then(|line| line.split(':').next());
    exception.is_some_and(|it| FAULTS_OF_CODE.contains(&it))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(last: &str) -> LoadFailure {
        LoadFailure {
            sentence: "module = app cannot be loaded".to_owned(),
            traceback: format!("Traceback (most recent call last):\n  File ...\n{last}\n"),
        }
    }

    fn held() -> [String; 2] {
        ["port 127.0.0.1:9000".to_owned(), "lock on /x".to_owned()]
    }

    #[test]
    fn an_import_that_takes_as_much_is_not_repeated() {
        assert!(lacking(&[], Import::Loaded(&[])).is_empty());
        assert!(lacking(&held(), Import::Loaded(&held())).is_empty());
        assert_eq!(
            lacking(&held(), Import::Loaded(&held()[..1])),
            ["lock on /x"]
        );
    }

    #[test]
    fn a_failed_import_is_repeated_if_another_process_can_be_the_cause() {
        let in_use = failure("OSError: [Errno 98] Address already in use");
        assert_eq!(lacking(&held(), Import::Failed(&in_use)).len(), 2);
        assert!(lacking(&[], Import::Failed(&in_use)).is_empty());
        for wrong in ["SyntaxError: invalid syntax", "KeyError: 'DATABASE_URL'"] {
            let wrong = failure(wrong);
            assert!(lacking(&held(), Import::Failed(&wrong)).is_empty());
        }
    }
}
