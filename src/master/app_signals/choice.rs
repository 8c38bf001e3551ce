//! Chooses the workers that get a message about a signal. Any worker may handle such a signal. The choice is a pure
//! function.

/// A process that can handle a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::master) struct Candidate {
    /// The process's row of the scoreboard.
    pub(in crate::master) row: u32,
    /// The number of its threads that serve no request.
    pub(in crate::master) idle_threads: usize,
}

/// Returns the rows of the processes that get the message. If a process is free, only one gets the message: the next
/// free process after the row `last`, so that a quiet instance uses its processes in turn. If no process is free, all
/// get the message, and the first that becomes free handles the signal.
pub(in crate::master) fn first_free(candidates: &[Candidate], last: u32) -> Vec<u32> {
    let free = || candidates.iter().filter(|it| it.idle_threads > 0);
    let next = free()
        .filter(|it| it.row > last)
        .min_by_key(|it| it.row)
        .or_else(|| free().min_by_key(|it| it.row));
    match next {
        Some(next) => vec![next.row],
        None => candidates.iter().map(|it| it.row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(idle: &[usize], last: u32) -> Vec<u32> {
        let candidates: Vec<_> = (1..)
            .zip(idle)
            .map(|(row, idle_threads)| Candidate {
                row,
                idle_threads: *idle_threads,
            })
            .collect();
        first_free(&candidates, last)
    }

    #[test]
    fn free_processes_take_turns() {
        assert_eq!(rows(&[1, 1, 1], 0), [1]);
        assert_eq!(rows(&[1, 1, 1], 1), [2]);
        assert_eq!(rows(&[1, 0, 2], 1), [3]);
        assert_eq!(rows(&[1, 1, 1], 3), [1]);
    }

    #[test]
    fn all_are_told_if_none_is_free() {
        assert_eq!(rows(&[0, 0], 1), [1, 2]);
        assert!(rows(&[], 0).is_empty());
    }
}
