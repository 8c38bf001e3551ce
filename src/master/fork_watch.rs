//! The timeout of a zygote's answers to fork requests: a pure function of the requests, the answers and the time.
//!
//! A zygote has one thread. If a function that the application has registered (`os.register_at_fork`) does not return,
//! the zygote forks no more workers, and all slots stay empty.

use std::time::{Duration, Instant};

/// Timeout of the zygote's next answer. Each answer restarts it.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// Whether the zygote owes an answer, and since when.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ForkWatch {
    since: Option<Instant>,
}

impl ForkWatch {
    /// Notes that the zygote was asked to fork. Starts the timeout unless it is running.
    pub(super) fn asked(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Notes that the zygote has answered or exited. With `pending` it owes further answers, and the timeout restarts;
    /// otherwise the timeout ends.
    pub(super) fn answered(&mut self, pending: bool, now: Instant) {
        self.since = pending.then_some(now);
    }

    /// The time at which the next answer is overdue; `None` if the zygote owes no answer.
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
