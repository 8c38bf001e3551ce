//! Log lines that a client can cause. At most one line per second is logged.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::log::escape;
use crate::sys::clock::monotonic_micros;

/// The time at which the next line may be logged, microseconds of the monotonic clock.
#[derive(Default)]
pub struct Notices {
    next_us: AtomicU64,
}

impl Notices {
    /// Logs that a symbolic link leads out of the directory.
    pub fn outside(&self, path: &[u8], real: &[u8], root: &[u8]) {
        if self.is_due() {
            tracing::warn!(
                "static file {}: it is {}, which is not below {}, so the application gets the request (static-safe permits further directories)",
                escape(path),
                escape(real),
                escape(root)
            );
        }
    }

    /// Logs that a file exists but cannot be opened.
    pub fn failed(&self, path: &[u8], error: &std::io::Error) {
        if self.is_due() {
            tracing::warn!(
                "static file {}: it cannot be opened, so the application gets the request: {error}",
                escape(path)
            );
        }
    }

    fn is_due(&self) -> bool {
        let now = monotonic_micros();
        let next = self.next_us.load(Relaxed);
        now >= next
            && self
                .next_us
                .compare_exchange(next, now + 1_000_000, Relaxed, Relaxed)
                .is_ok()
    }
}
