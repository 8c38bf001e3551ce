//! The alarms that lines of the log raise (`log-alarm`). The log thread finds the lines, and the master raises the
//! alarms.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

use crate::log::escape::clipped;
use crate::log::settings::AlarmRule;
use crate::sys::wakeup::Wakeup;

/// Maximum number of alarms that wait for the master. Further alarms are dropped.
const MAX_WAITING: usize = 32;
/// Maximum bytes of a line that becomes the message of an alarm.
const MAX_MESSAGE: usize = 8192;

/// Alarms that a line of the log raises.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LineAlarm {
    /// The names of the alarms.
    pub(crate) names: Vec<String>,
    /// The line without its line feed.
    pub(crate) message: String,
}

/// The alarms that wait for the master. The log thread adds them, the master takes them.
pub(crate) struct AlarmQueue {
    rules: Vec<AlarmRule>,
    waiting: Mutex<VecDeque<LineAlarm>>,
    wakeup: Wakeup,
}

impl AlarmQueue {
    /// Creates an empty queue for lines that match `rules`.
    ///
    /// # Errors
    /// Those of eventfd(2).
    pub(super) fn new(rules: Vec<AlarmRule>) -> io::Result<Self> {
        Ok(Self {
            rules,
            waiting: Mutex::default(),
            wakeup: Wakeup::new()?,
        })
    }

    /// Adds the alarms of a line.
    pub(super) fn check(&self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let names = raised(&self.rules, &text);
        if names.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MAX_WAITING {
            let text = text.trim_end_matches('\n');
            waiting.push_back(LineAlarm {
                names,
                message: clipped(text, MAX_MESSAGE).to_owned(),
            });
            self.wakeup.wake();
        }
    }

    /// Takes the alarms that wait.
    pub(crate) fn take(&self) -> VecDeque<LineAlarm> {
        self.wakeup.clear();
        std::mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AsFd for AlarmQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wakeup.as_fd()
    }
}

/// The names of the alarms that a line raises. The search ends at a matching rule without alarms.
fn raised(rules: &[AlarmRule], line: &str) -> Vec<String> {
    let matching = rules.iter().filter(|rule| rule.pattern.matches(line));
    let mut names: Vec<String> = Vec::new();
    for rule in matching.take_while(|rule| !rule.alarms.is_empty()) {
        for name in &rule.alarms {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    names
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::log::Pattern;

    fn rule(names: &str, pattern: &str) -> AlarmRule {
        AlarmRule {
            alarms: names.split_whitespace().map(str::to_owned).collect(),
            pattern: Pattern::new(pattern).unwrap(),
        }
    }

    #[test]
    fn an_exception_ends_the_search_for_alarms() {
        let rules = [
            rule("a b", "oops"),
            rule("", "harmless"),
            rule("c a", "oops"),
        ];
        assert_eq!(raised(&rules, "oops\n"), ["a", "b", "c"]);
        assert_eq!(raised(&rules, "harmless oops\n"), ["a", "b"]);
        assert!(raised(&rules, "fine\n").is_empty());
    }

    #[test]
    fn the_queue_is_bounded() {
        let queue = AlarmQueue::new(vec![rule("a", "x")]).unwrap();
        for _ in 0..MAX_WAITING + 5 {
            queue.check("é".repeat(MAX_MESSAGE).replacen('é', "x", 1).as_bytes());
        }
        let taken = queue.take();
        assert_eq!(taken.len(), MAX_WAITING);
        assert!(taken.iter().all(|it| it.message.len() <= MAX_MESSAGE));
        assert!(queue.take().is_empty());
    }
}
