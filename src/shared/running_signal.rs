//! Starts and ends the handlers of signals: a process takes a waiting signal from the scoreboard and marks its thread
//! as busy.

use std::sync::atomic::{Ordering::Relaxed, Ordering::SeqCst};

use super::scoreboard::Scoreboard;
use super::signal_rows::NOTE;
use crate::sys::clock::monotonic_micros;

/// The place of a thread in the scoreboard.
#[derive(Clone, Copy)]
pub struct ThreadPlace {
    /// The row of the thread's process, from 1.
    pub row: u32,
    /// The number of the thread, from 0.
    pub thread: u32,
}

/// A signal whose handler a thread runs.
#[derive(Clone, Copy)]
pub struct RunningSignal {
    /// The signal.
    pub number: u8,
    /// The time at which the handler began, in microseconds of the monotonic clock. With `in_request`, it is the start
    /// of the request.
    pub since: u64,
    /// Whether a request waits for the signal (`uwsgi.signal_wait`).
    in_request: bool,
    /// The signal that was in the thread's row before this handler began. The row gets it back when the handler ends.
    outer: u32,
}

impl Scoreboard {
    /// Takes a signal that waits for the process of `place` or, if `shared` is true, for any worker. `handles` tells
    /// whether the process has a handler for a signal. The thread runs the handler until [`Scoreboard::end_signal`].
    pub fn begin_signal(
        &self,
        place: ThreadPlace,
        shared: bool,
        handles: impl Fn(u8) -> bool,
    ) -> Option<RunningSignal> {
        let thread = self.thread(place.row, place.thread)?;
        let own = self.signals(place.row);
        let all = self.signals(0).filter(|_| shared);
        for signals in own.into_iter().chain(all) {
            for number in signals.numbers().filter(|number| handles(*number)) {
                // the row of the thread gets the signal before the signal stops waiting, so that the master never
                // misses it
                let outer = thread.signal.swap(u32::from(number) + 1, SeqCst);
                if !signals.take(number) {
                    thread.signal.store(outer, SeqCst);
                    continue;
                }
                let since = thread.busy_since.load(Relaxed);
                let in_request = since != 0;
                let since = if in_request {
                    since
                } else {
                    monotonic_micros()
                };
                if !in_request {
                    thread.note(format!("{NOTE} {number} ").as_bytes());
                    thread.deadline.store(0, Relaxed);
                    thread.busy_since.store(since, Relaxed);
                }
                return Some(RunningSignal {
                    number,
                    since,
                    in_request,
                    outer,
                });
            }
        }
        None
    }

    /// Records that the thread of `place` has run the handler of a signal.
    pub fn end_signal(&self, place: ThreadPlace, signal: &RunningSignal) {
        if let Some(thread) = self.thread(place.row, place.thread) {
            if !signal.in_request {
                thread.busy_since.store(0, Relaxed);
            }
            thread.signal.store(signal.outer, SeqCst);
        }
        if let Some(row) = self.worker(place.row) {
            row.signals.fetch_add(1, Relaxed);
        }
    }

    /// Marks the thread of `place`, in a mule, as busy with a message.
    pub fn begin_message(&self, place: ThreadPlace) {
        if let Some(thread) = self.thread(place.row, place.thread) {
            thread.note(b"the handler of a message ");
            thread.busy_since.store(monotonic_micros(), Relaxed);
        }
    }

    /// Records that the thread of `place` has handled a message.
    pub fn end_message(&self, place: ThreadPlace) {
        if let Some(thread) = self.thread(place.row, place.thread) {
            thread.busy_since.store(0, Relaxed);
        }
        if let Some(row) = self.worker(place.row) {
            row.signals.fetch_add(1, Relaxed);
        }
    }

    /// Whether a signal waits for the process of `row` or, if `shared` is true, for any worker.
    pub fn has_signals(&self, row: u32, shared: bool) -> bool {
        let rows = [Some(row), shared.then_some(0)].into_iter().flatten();
        rows.filter_map(|row| self.signals(row))
            .any(|signals| signals.numbers().next().is_some())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FIRST: ThreadPlace = ThreadPlace { row: 1, thread: 0 };
    const SECOND: ThreadPlace = ThreadPlace { row: 2, thread: 0 };

    #[test]
    fn a_signal_for_any_worker_is_taken_once() {
        let board = Scoreboard::create(2, 1).unwrap();
        board.signals(0).unwrap().add(7, 1);
        let running = board.begin_signal(FIRST, true, |_| true).unwrap();
        assert_eq!(board.running_signals(1).collect::<Vec<_>>(), [7]);
        assert!(board.begin_signal(SECOND, true, |_| true).is_none());
        board.end_signal(FIRST, &running);
        assert_eq!(board.running_signals(1).count(), 0);
        assert_eq!(board.worker(1).unwrap().signals.load(Relaxed), 1);
    }

    #[test]
    fn a_signal_without_a_handler_keeps_waiting() {
        let board = Scoreboard::create(1, 1).unwrap();
        board.signals(1).unwrap().add(7, 2);
        assert!(
            board
                .begin_signal(FIRST, true, |number| number != 7)
                .is_none()
        );
        assert!(board.has_signals(1, false));
        board.reset_worker(1);
        assert!(!board.has_signals(1, true));
    }
}
