//! When the import of a reload must be repeated without the process that has imported the running generation.
//!
//! Both imports take the same port or lock. The second one fails, or goes on without it: the new generation would not have
//! it, and the old one ends.

use crate::ipc::LoadFailure;

/// Exceptions that have their cause in the code.
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
    /// It has taken these ports and locks.
    Loaded(&'a [String]),
    Failed(&'a LoadFailure),
}

/// What the running generation's import holds and the import of the reload lacks, for which it must be repeated; empty if
/// it need not be.
pub(super) fn lacking<'a>(held: &'a [String], import: Import<'_>) -> Vec<&'a str> {
    let lacks = |name: &&String| match import {
        Import::Loaded(taken) => !taken.contains(name),
        Import::Failed(failure) => !is_fault_of_code(failure),
    };
    held.iter().filter(lacks).map(String::as_str).collect()
}

/// Whether the last line of the traceback names an exception that no other process can cause.
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
