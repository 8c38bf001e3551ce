//! A lock in shared memory that does not stay locked when its owner dies.
//!
//! The lock is one word: the mark of the owner, and a bit that is set while a process may wait. A process that has
//! waited some milliseconds checks whether the owner still runs. If the owner has died, the waiting process takes the
//! lock and learns that it must repair the protected data.

use std::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::{Duration, Instant};

use crate::sys::futex;
use crate::sys::process_mark::{BITS, ProcessMark};

/// The bit of the word that is set while a process may wait.
const WAITED_FOR: u32 = 1 << BITS;

/// The first interval between two checks of the owner, and the longest one.
const FIRST_CHECK: Duration = Duration::from_millis(5);
const LONGEST_CHECK: Duration = Duration::from_millis(200);

/// Number of attempts that a process makes before it sleeps.
const SPINS: u32 = 100;

/// How a lock was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    /// The last owner has released the lock.
    Released,
    /// The last owner has died while it held the lock.
    Abandoned,
}

/// A lock between the processes that share its memory. Zeroed memory is a free lock.
#[derive(Default)]
#[repr(transparent)]
pub struct RobustLock {
    word: AtomicU32,
}

impl RobustLock {
    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> bool {
        let own = ProcessMark::own().bits();
        self.word.compare_exchange(0, own, Acquire, Relaxed).is_ok()
    }

    /// Takes the lock, and waits for it if necessary.
    #[inline]
    pub fn lock(&self) -> Taken {
        match self.try_lock() {
            true => Taken::Released,
            false => self.wait(None).unwrap_or(Taken::Released),
        }
    }

    /// Takes the lock; `None` if another process holds it longer than `timeout`.
    pub fn lock_within(&self, timeout: Duration) -> Option<Taken> {
        match self.try_lock() {
            true => Some(Taken::Released),
            false => self.wait(Some(Instant::now() + timeout)),
        }
    }

    #[cold]
    fn wait(&self, end: Option<Instant>) -> Option<Taken> {
        for _ in 0..SPINS {
            std::hint::spin_loop();
            if self.word.load(Relaxed) == 0 && self.try_lock() {
                return Some(Taken::Released);
            }
        }
        let own = ProcessMark::own().bits() | WAITED_FOR;
        let mut interval = FIRST_CHECK;
        loop {
            // the word can change all the time, so each repetition checks the end
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            let word = self.word.load(Relaxed);
            let Some(owner) = ProcessMark::from_bits(word & !WAITED_FOR) else {
                // the bit stays set, because other processes may wait too
                match self.word.compare_exchange(word, own, Acquire, Relaxed) {
                    Ok(_) => return Some(Taken::Released),
                    Err(_) => continue,
                }
            };
            let waited_for = word | WAITED_FOR;
            if word != waited_for
                && self
                    .word
                    .compare_exchange(word, waited_for, Relaxed, Relaxed)
                    .is_err()
            {
                continue;
            }
            let longest = left.map_or(interval, |left| left.min(interval));
            if !futex::wait(&self.word, waited_for, longest) {
                continue;
            }
            interval = LONGEST_CHECK.min(interval * 2);
            if !owner.is_alive()
                && self
                    .word
                    .compare_exchange(waited_for, own, Acquire, Relaxed)
                    .is_ok()
            {
                return Some(Taken::Abandoned);
            }
        }
    }

    /// Releases the lock. Has no effect if another process holds it.
    #[inline]
    pub fn unlock(&self) {
        let own = ProcessMark::own().bits();
        if self.word.compare_exchange(own, 0, Release, Relaxed).is_ok() {
            return;
        }
        if self
            .word
            .compare_exchange(own | WAITED_FOR, 0, Release, Relaxed)
            .is_ok()
        {
            futex::wake(&self.word, 1);
        }
    }

    /// Whether a process holds the lock now.
    #[inline]
    pub fn is_taken(&self) -> bool {
        self.word.load(Relaxed) != 0
    }

    /// The process that holds the lock. `None` if the lock is free, or its owner has died.
    pub fn owner(&self) -> Option<i32> {
        let owner = ProcessMark::from_bits(self.word.load(Relaxed) & !WAITED_FOR)?;
        owner.is_alive().then(|| owner.pid())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn threads_exclude_each_other() {
        let lock = Arc::new((RobustLock::default(), AtomicU32::new(0)));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let lock = Arc::clone(&lock);
                std::thread::spawn(move || {
                    for _ in 0..2000 {
                        assert_eq!(lock.0.lock(), Taken::Released);
                        let value = lock.1.load(Relaxed);
                        std::hint::spin_loop();
                        lock.1.store(value + 1, Relaxed);
                        lock.0.unlock();
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(lock.1.load(Relaxed), 8000);
        assert!(!lock.0.is_taken());
    }

    #[test]
    fn the_lock_of_a_dead_process_is_taken_over() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        let lock = RobustLock::default();
        lock.word.store(pid, Relaxed);
        assert_eq!(lock.owner(), None);
        let begun = Instant::now();
        assert_eq!(lock.lock(), Taken::Abandoned);
        assert!(begun.elapsed() < Duration::from_secs(1));
        assert_eq!(lock.owner(), Some(std::process::id().cast_signed()));
        lock.unlock();
        assert_eq!(lock.lock(), Taken::Released);
    }

    #[test]
    fn a_wait_with_a_timeout_ends() {
        let lock = RobustLock::default();
        assert_eq!(lock.lock(), Taken::Released);
        assert_eq!(lock.lock_within(Duration::from_millis(20)), None);
        lock.unlock();
    }

    #[test]
    fn a_wait_with_a_timeout_ends_although_the_word_changes_all_the_time() {
        let lock = RobustLock::default();
        let done = AtomicU32::new(0);
        let own = ProcessMark::own().bits();
        lock.word.store(own, Relaxed);
        std::thread::scope(|scope| {
            // another process that wakes the waiting process again and again, for at most 3 seconds
            scope.spawn(|| {
                let begun = Instant::now();
                while done.load(Relaxed) == 0 && begun.elapsed() < Duration::from_secs(3) {
                    lock.word.store(own, Relaxed);
                    futex::wake(&lock.word, 1);
                }
            });
            let begun = Instant::now();
            assert_eq!(lock.lock_within(Duration::from_millis(20)), None);
            assert!(begun.elapsed() < Duration::from_secs(1));
            done.store(1, Relaxed);
        });
    }
}
