//! The memory limit that a worker checks itself: `reload-on-rss`, after each request.

use std::sync::atomic::Ordering::SeqCst;

use ruwsgi::sys::memory::{self, Memory};
use ruwsgi::sys::process::Pid;

use crate::worker::Worker;

/// Retires the worker if its resident memory has reached `reload-on-rss`, unless the worker is younger than its minimum
/// lifetime. The master replaces a worker that grows slowly before it reaches the limit. This check is for a worker
/// that grows fast.
pub fn check(worker: &Worker) {
    let options = &worker.spec.worker;
    let Some(limit) = options.reload_on_rss.filter(|bytes| *bytes > 0) else {
        return;
    };
    // the peak costs one system call and the current size three more, so the current size is read only if the peak is
    // high
    if memory::own_peak() < limit
        || worker.started.elapsed() < options.min_worker_lifetime
        || worker.is_leaving()
    {
        return;
    }
    let size = Memory::of(Pid::own());
    if size.map_or(0, |size| size.resident) >= limit {
        worker.exit_reasons.memory.store(true, SeqCst);
        worker.engine.retire();
        worker.engine.wake();
    }
}
