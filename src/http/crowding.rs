//! Decides which waiting connections are closed when there are too many, and writes the log line about them.
//!
//! Clients that do not finish their requests could use up a worker's descriptors. Beyond a limit the I/O thread closes
//! waiting connections, so that a new connection is always accepted. Connections whose clients lose least are closed
//! first. Among equal connections the oldest is closed first.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use super::pending::Inbox;
use crate::log::{Interval, counted};

/// Interval between two log lines of the same kind, microseconds.
const LOG_INTERVAL: u64 = 10_000_000;
/// Age up to which a connection is new, microseconds.
const YOUNG: u64 = 1_000_000;
/// Number of steps in which a thread waits for a free descriptor. Each step takes `STEP`.
const STEPS: u32 = 20;
const STEP: Duration = Duration::from_millis(1);

/// The reason why a connection waits. Connections are closed in the order of the variants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Wait {
    /// The request is answered, and the client has not closed the connection.
    Close,
    /// The connection waits for the rest of a request head, or for its first byte.
    Head,
    /// The connection waits for the next request.
    Next,
    /// The connection waits for the rest of a request body.
    Body,
    /// The connection waits for a client that is slow to take its response.
    Response,
}

/// Number of variants of [`Wait`].
const WAITS: usize = 5;

impl Wait {
    fn noun(self) -> &'static str {
        match self {
            Self::Close => "answered",
            Self::Head => "with an unfinished request head",
            Self::Next => "idle",
            Self::Body => "with an unfinished request body",
            Self::Response => "with an unsent response",
        }
    }
}

/// The place where a waiting connection is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// An entry of the I/O thread, by index.
    Entry(usize),
    /// A slot of the idle connections, by token.
    Idle(usize),
}

/// A waiting connection that may be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Why the connection waits.
    pub wait: Wait,
    /// Time since the wait began, microseconds.
    pub age_us: u64,
    /// Whether the connection has a temporary file.
    pub has_file: bool,
    /// Where the connection is stored.
    pub place: Place,
}

impl Candidate {
    /// Whether the connection is new. The bytes of a new connection may arrive at any moment.
    fn is_young(&self) -> bool {
        self.age_us < YOUNG && !matches!(self.wait, Wait::Close | Wait::Next)
    }

    /// The sort key that determines which connections are closed first. New connections come last, so that a new client
    /// is served even if many others wait.
    fn order(&self) -> (bool, Option<Wait>, Reverse<u64>) {
        let young = self.is_young();
        (young, (!young).then_some(self.wait), Reverse(self.age_us))
    }
}

/// Chooses `count` connections to close. Connections whose clients lose least come first, and among equal connections
/// the oldest.
pub fn choose(mut candidates: Vec<Candidate>, count: usize) -> Vec<Candidate> {
    candidates.sort_unstable_by_key(Candidate::order);
    candidates.truncate(count);
    candidates
}

/// Number of connections to close if `waiting` connections wait and at most `limit` may wait. `lacking` means that a
/// thread has found no free descriptor. Each choice examines all connections. Therefore the number is higher than
/// necessary, by 1/64 of all connections.
pub fn surplus(waiting: usize, limit: usize, lacking: bool) -> usize {
    let excess = waiting.saturating_sub(limit);
    if excess == 0 && !lacking {
        return 0;
    }
    (excess + (waiting / 64).max(usize::from(lacking))).min(waiting)
}

/// The limit on waiting connections in a process that may open `descriptors` descriptors. If `configured` is 0, the
/// limit is three quarters of `descriptors`, at most 10000. Otherwise the limit is `configured`, but at most the number
/// of descriptors that the worker itself does not need.
pub fn limit(configured: u32, descriptors: u64) -> usize {
    const MOST: u64 = 10_000;
    /// Descriptors that the worker itself needs.
    const OWN: u64 = 32;
    let most = match configured {
        0 => (descriptors / 4 * 3).min(MOST),
        most => u64::from(most).min(descriptors.saturating_sub(OWN)),
    };
    usize::try_from(most).unwrap_or(usize::MAX).max(1)
}

/// The number of waiting connections, and the requests of threads for a free descriptor.
pub struct Crowding {
    /// Maximum number of waiting connections.
    pub limit: usize,
    /// Number of connections in the I/O thread and the dispatch queue. Includes temporary files, because each needs a
    /// descriptor too.
    pending: AtomicUsize,
    /// Whether a thread has found no free descriptor, and the I/O thread has not seen this yet.
    lacking: AtomicBool,
    /// Whether the I/O thread has found no waiting connection to close.
    hopeless: AtomicBool,
    /// The interval between log lines about connections that could not be accepted.
    log: Interval,
}

impl Crowding {
    /// Counts waiting connections, of which there may be at most `limit`.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            pending: AtomicUsize::new(0),
            lacking: AtomicBool::new(false),
            hopeless: AtomicBool::new(false),
            log: Interval::new(),
        }
    }

    /// Whether too many connections wait. `idle` is the number of connections between two requests.
    #[inline]
    pub fn is_over(&self, idle: usize) -> bool {
        idle + self.pending.load(Relaxed) > self.limit
    }

    /// Sets the number of connections and temporary files that wait, without the idle connections.
    pub fn set_pending(&self, count: usize) {
        self.pending.store(count, Relaxed);
    }

    /// Whether a thread has found no free descriptor since the last call.
    pub fn take_lacking(&self) -> bool {
        self.lacking.swap(false, SeqCst)
    }

    /// Answers a thread in [`Crowding::make_room`]: the I/O thread has closed `closed` connections. 0 means that no
    /// connection could be closed.
    pub fn answer(&self, closed: usize) {
        self.hopeless.store(closed == 0, SeqCst);
    }

    /// Asks the I/O thread to close a waiting connection, and waits at most 20 ms for the answer. Returns false if no
    /// connection could be closed, or if no answer came in time.
    pub fn make_room(&self, inbox: &Inbox) -> bool {
        self.hopeless.store(false, SeqCst);
        self.lacking.store(true, SeqCst);
        inbox.wakeup.wake();
        for _ in 0..STEPS {
            std::thread::sleep(STEP);
            if self.hopeless.load(SeqCst) {
                return false;
            }
            if !self.lacking.load(SeqCst) {
                return true;
            }
        }
        false
    }

    /// Whether a log line about a connection that could not be accepted is due: the first at once, then one in ten
    /// seconds.
    pub fn is_log_due(&self) -> bool {
        self.log.due().is_some()
    }
}

/// The closed connections that are not in the log yet, counted by kind.
#[derive(Default)]
pub struct Dropped {
    counts: [u64; WAITS],
    next_log: u64,
}

impl Dropped {
    /// Counts a closed connection.
    pub fn count(&mut self, wait: Wait) {
        self.counts[wait as usize] += 1;
    }

    /// Returns the log line if one is due: the first at once, then one per `LOG_INTERVAL`. Resets the counts then.
    pub fn line(&mut self, limit: usize, now_us: u64) -> Option<String> {
        let total: u64 = self.counts.iter().sum();
        if total == 0 || now_us < self.next_log {
            return None;
        }
        self.next_log = now_us + LOG_INTERVAL;
        let counts = std::mem::take(&mut self.counts);
        let kinds = [
            Wait::Close,
            Wait::Head,
            Wait::Next,
            Wait::Body,
            Wait::Response,
        ];
        let kinds = kinds.iter().zip(counts).filter(|(_, count)| *count > 0);
        let kinds: Vec<_> = kinds
            .map(|(wait, count)| format!("{count} {}", wait.noun()))
            .collect();
        Some(format!(
            "closed {}, the oldest first ({}): a worker keeps at most {limit} of them, needs a free descriptor for the next one, and has little memory and room in files for them; limit-connections, max-fd, limit-buffers and limit-spool change that",
            counted(total, "waiting connection"),
            kinds.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(wait: Wait, age_us: u64, index: usize) -> Candidate {
        Candidate {
            wait,
            age_us,
            has_file: false,
            place: Place::Entry(index),
        }
    }

    #[test]
    fn the_oldest_of_the_cheapest_kind_is_closed_first() {
        let all = vec![
            candidate(Wait::Response, 9 * YOUNG, 0),
            candidate(Wait::Body, 8 * YOUNG, 1),
            candidate(Wait::Head, YOUNG, 2),
            candidate(Wait::Head, 2 * YOUNG, 3),
            candidate(Wait::Next, 70, 4),
            candidate(Wait::Head, 10, 5),
            candidate(Wait::Body, 20, 6),
        ];
        let order = choose(all, 7).into_iter().map(|it| it.place);
        let expected = [3, 2, 4, 1, 0, 6, 5].map(Place::Entry);
        assert!(order.eq(expected));
    }

    #[test]
    fn no_more_wait_than_the_limit() {
        assert_eq!(surplus(96, 96, false), 0);
        assert_eq!(surplus(97, 96, false), 2);
        assert_eq!(surplus(0, 96, true), 0);
        assert_eq!(surplus(3, 96, true), 1);
        assert_eq!(surplus(10_001, 10_000, false), 157);
    }

    #[test]
    fn the_limit_is_below_that_of_descriptors() {
        assert_eq!(limit(0, 128), 96);
        assert_eq!(limit(0, 1 << 20), 10_000);
        assert_eq!(limit(20_000, 1 << 20), 20_000);
        assert_eq!(limit(500, 128), 96);
        assert_eq!(limit(5, 4), 1);
    }

    #[test]
    fn closed_connections_are_logged_once_per_interval() {
        let mut dropped = Dropped::default();
        assert_eq!(dropped.line(96, 5), None);
        dropped.count(Wait::Head);
        assert!(
            dropped
                .line(96, 5)
                .is_some_and(|line| line.contains("1 with an unfinished request head"))
        );
        dropped.count(Wait::Next);
        assert_eq!(dropped.line(96, 6), None);
        dropped.count(Wait::Body);
        assert!(
            dropped
                .line(96, 5 + LOG_INTERVAL)
                .is_some_and(|line| line.starts_with("closed 2 "))
        );
    }
}
