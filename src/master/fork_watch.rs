//! How long a zygote may take to answer requests for forks: a function of what it was asked, its answers, and time.
//!
//! It has one thread, so a function of the application that does not return (`os.register_at_fork`) leaves all slots empty.

use std::time::{Duration, Instant};

/// Time in which the zygote has to answer the next request.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// Whether the zygote owes an answer, and since when.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ForkWatch {
    since: Option<Instant>,
}

impl ForkWatch {
    /// The zygote was asked to fork.
    pub(super) fn asked(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// The zygote has answered, or has exited; `pending`: whether it owes further answers.
    pub(super) fn answered(&mut self, pending: bool, now: Instant) {
        self.since = pending.then_some(now);
    }

    /// When an answer is overdue.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + TIMEOUT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_gives_the_next_one_the_whole_time() {
        let now = Instant::now();
        let mut watch = ForkWatch::default();
        assert_eq!(watch.deadline(), None);
        watch.asked(now);
        watch.asked(now + TIMEOUT / 2);
        assert_eq!(watch.deadline(), Some(now + TIMEOUT));
        watch.answered(true, now + TIMEOUT / 2);
        assert_eq!(watch.deadline(), Some(now + TIMEOUT / 2 + TIMEOUT));
        watch.answered(false, now + TIMEOUT);
        assert_eq!(watch.deadline(), None);
    }
}
