//! Passes snapshots of a supervisor's state to the observer. A snapshot is taken when the observer asks for it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::sys::wakeup::Wakeup;

/// Maximum time that the observer waits for a new snapshot before it uses the last one.
const PATIENCE: Duration = Duration::from_millis(200);

/// Passes snapshots from a supervisor to the observer. The supervisor polls the feed as a descriptor, and publishes a
/// snapshot when [`Feed::is_requested`] returns true. Neither side waits for the other while it holds the lock.
pub(crate) struct Feed<T> {
    request: Wakeup,
    last: Mutex<Numbered<T>>,
    published: Notify,
}

/// A snapshot and its number. Numbers increase.
struct Numbered<T> {
    number: u64,
    snapshot: Arc<T>,
}

impl<T> Feed<T> {
    /// Creates a feed with a first snapshot, which is used until the supervisor publishes another one.
    ///
    /// # Errors
    /// Those of eventfd(2).
    pub(crate) fn new(first: T) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            request: Wakeup::new()?,
            last: Mutex::new(Numbered {
                number: 0,
                snapshot: Arc::new(first),
            }),
            published: Notify::new(),
        }))
    }

    /// Whether the observer has asked for a snapshot since the last call.
    pub(crate) fn is_requested(&self) -> bool {
        self.request.clear()
    }

    /// Replaces the snapshot, and wakes the observer.
    pub(crate) fn publish(&self, snapshot: T) {
        let snapshot = Arc::new(snapshot);
        let mut last = self.lock();
        let before = std::mem::replace(&mut last.snapshot, snapshot);
        last.number += 1;
        drop(last);
        // the old snapshot is dropped after the lock is released, because the drop may unmap a scoreboard
        drop(before);
        self.published.notify_waiters();
    }

    /// The number of the last snapshot. Any later snapshot has a higher number.
    pub(super) fn number(&self) -> u64 {
        self.lock().number
    }

    /// Asks for a snapshot, and returns the first snapshot with a number above `known`, with its number. Returns the
    /// last snapshot if the supervisor does not answer in time.
    pub(super) async fn newer_than(&self, known: u64) -> (u64, Arc<T>) {
        self.request.wake();
        let wait = async {
            loop {
                // the waiter is registered first and the number is read then, so that no snapshot is missed
                let mut published = std::pin::pin!(self.published.notified());
                published.as_mut().enable();
                if self.number() > known {
                    return;
                }
                published.await;
            }
        };
        // after the timeout the last snapshot is used
        let _ = tokio::time::timeout(PATIENCE, wait).await;
        let last = self.lock();
        (last.number, Arc::clone(&last.snapshot))
    }

    fn lock(&self) -> MutexGuard<'_, Numbered<T>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> AsFd for Feed<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.request.as_fd()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn a_request_gets_the_next_snapshot() {
        let feed = Feed::new(1).unwrap();
        assert!(!feed.is_requested());
        let supervisor = {
            let feed = Arc::clone(&feed);
            std::thread::spawn(move || {
                while !feed.is_requested() {
                    std::thread::yield_now();
                }
                feed.publish(2);
            })
        };
        assert_eq!(block_on(feed.newer_than(feed.number())), (1, Arc::new(2)));
        supervisor.join().unwrap();
    }

    #[test]
    fn without_an_answer_the_last_snapshot_is_used() {
        let feed = Feed::new(7).unwrap();
        assert_eq!(block_on(feed.newer_than(0)), (0, Arc::new(7)));
        assert!(feed.is_requested());
    }
}
