//! Limits on the bytes of requests and responses that wait in this process, in memory and in temporary files.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::log::Interval;

/// Bytes of waiting requests and responses in memory (`limit-buffers`).
pub static MEMORY: Budget = Budget::new(128 << 20);
/// Bytes of waiting requests and responses in temporary files (`limit-spool`).
pub static FILES: Budget = Budget::new(2 << 30);

/// A limited number of bytes. Each holder takes its bytes as a [`Share`] of the budget.
pub struct Budget {
    used: AtomicU64,
    limit: AtomicU64,
    /// Number of shares that are not empty.
    holders: AtomicUsize,
    /// Whether a holder needs room that other holders occupy.
    short: AtomicBool,
    /// The interval between log lines about the limit.
    log: Interval,
}

impl Budget {
    const fn new(limit: u64) -> Self {
        Self {
            used: AtomicU64::new(0),
            limit: AtomicU64::new(limit),
            holders: AtomicUsize::new(0),
            short: AtomicBool::new(false),
            log: Interval::new(),
        }
    }

    /// Sets the limit in bytes; 0 means no limit.
    pub fn set_limit(&self, limit: u64) {
        let limit = if limit == 0 { u64::MAX } else { limit };
        self.limit.store(limit, Relaxed);
    }

    /// The limit in bytes; `u64::MAX` means no limit.
    pub fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    /// Maximum bytes of a single holder. It is half of the limit, because a holder must leave as many bytes free as it
    /// holds.
    pub fn largest_share(&self) -> u64 {
        self.limit() / 2
    }

    /// Records that a holder of `own` bytes got no more bytes. If `own` is at most a quarter of the limit, the I/O
    /// thread closes other connections that hold bytes of the budget. A larger holder has to wait.
    pub fn refused(&self, own: u64) {
        if own <= self.limit() / 4 {
            self.request_room();
        }
    }

    /// Asks the I/O thread to close connections that hold bytes of this budget.
    pub fn request_room(&self) {
        self.short.store(true, Relaxed);
    }

    /// Whether a holder has needed room since the last call.
    pub fn take_short(&self) -> bool {
        self.short.load(Relaxed) && self.short.swap(false, Relaxed)
    }

    /// Whether a log line about the limit is due: at once for the first, then at most every ten seconds. True starts
    /// the next interval of ten seconds.
    pub fn is_log_due(&self) -> bool {
        self.log.due().is_some()
    }

    /// Number of shares that are not empty. For files this is the number of descriptors.
    pub fn holders(&self) -> usize {
        self.holders.load(Relaxed)
    }

    /// Whether more than the limit is used.
    pub fn is_exceeded(&self) -> bool {
        self.used.load(Relaxed) > self.limit()
    }

    /// Whether more than 1/`parts` of the limit is used.
    pub fn is_beyond(&self, parts: u64) -> bool {
        self.used.load(Relaxed) > self.limit() / parts
    }

    /// Whether a holder of `own` bytes may take `more` bytes. A holder must leave as many bytes free as it holds, so
    /// that there is always room for another holder.
    pub fn admits(&self, own: u64, more: u64) -> bool {
        let used = self.used.load(Relaxed);
        own.saturating_add(more) <= self.limit().saturating_sub(used.saturating_add(more))
    }
}

/// A holder's part of a budget. Dropping the share returns its bytes. The default share belongs to no budget.
#[derive(Default)]
pub struct Share {
    budget: Option<&'static Budget>,
    bytes: u64,
}

impl Share {
    /// An empty share of `budget`.
    pub fn of(budget: &'static Budget) -> Self {
        Self {
            budget: Some(budget),
            bytes: 0,
        }
    }

    /// Size of the share in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Changes the size of the share to `bytes`.
    pub fn set(&mut self, bytes: u64) {
        if let Some(budget) = self.budget {
            if bytes > self.bytes {
                budget.used.fetch_add(bytes - self.bytes, Relaxed);
            } else {
                budget.used.fetch_sub(self.bytes - bytes, Relaxed);
            }
            if self.bytes == 0 && bytes > 0 {
                budget.holders.fetch_add(1, Relaxed);
            } else if self.bytes > 0 && bytes == 0 {
                budget.holders.fetch_sub(1, Relaxed);
            }
        }
        self.bytes = bytes;
    }

    /// Adds `bytes` to the share.
    pub fn add(&mut self, bytes: u64) {
        self.set(self.bytes.saturating_add(bytes));
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.set(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static TESTED: Budget = Budget::new(100);

    #[test]
    fn a_holder_gets_as_much_as_it_leaves_free() {
        let mut first = Share::of(&TESTED);
        assert!(TESTED.admits(0, 50) && !TESTED.admits(0, 51));
        first.add(50);
        assert!(!TESTED.admits(first.bytes(), 1));
        // a second share has room
        let mut second = Share::of(&TESTED);
        assert!(TESTED.admits(0, 25) && !TESTED.admits(0, 26));
        second.add(25);
        assert!(TESTED.is_beyond(2) && !TESTED.is_exceeded());
        assert_eq!(TESTED.holders(), 2);
        drop(first);
        second.set(10);
        assert!(!TESTED.is_beyond(8));
        drop(second);
        assert_eq!(TESTED.holders(), 0);
        assert!(TESTED.admits(0, 50));
    }
}
