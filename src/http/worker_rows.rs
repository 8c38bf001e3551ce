//! The rows of all workers of a generation, for the application (`uwsgi.workers`).

use std::sync::atomic::Ordering::Relaxed;

use super::engine::Engine;

/// The facts about one worker in the scoreboard.
pub struct WorkerFacts {
    /// The worker's id, from 1.
    pub id: u32,
    /// The process id.
    pub pid: i32,
    /// Number of requests begun.
    pub requests: u64,
    /// Number of requests in which the application failed.
    pub exceptions: u64,
    /// Number of signals that the worker has handled.
    pub signals: u64,
    /// Number of response bytes sent.
    pub sent: u64,
    /// Total duration of the requests, microseconds.
    pub running_us: u64,
    /// The time at which the worker began, seconds since 1970.
    pub started: u64,
    /// The signal whose handler a thread runs.
    signal: Option<u8>,
    /// Whether a thread serves a request.
    is_busy: bool,
}

impl WorkerFacts {
    /// The state in the words of uWSGI.
    pub fn status(&self) -> String {
        match self.signal {
            Some(signal) => format!("sig{signal}"),
            None if self.is_busy => "busy".to_owned(),
            None => "idle".to_owned(),
        }
    }
}

impl Engine {
    /// The running workers of the generation that this worker belongs to.
    pub fn workers(&self) -> Vec<WorkerFacts> {
        let board = &self.scoreboard.board;
        let rows = 1..=board.processes();
        rows.filter_map(|row| {
            let worker = board.worker(row)?;
            let mut facts = WorkerFacts {
                id: worker.id.load(Relaxed),
                pid: worker.pid.load(Relaxed),
                requests: board.worker_requests(row),
                exceptions: 0,
                signals: worker.signals.load(Relaxed),
                sent: worker.sent.load(Relaxed),
                running_us: 0,
                started: worker.started.load(Relaxed),
                signal: board.running_signals(row).next(),
                is_busy: false,
            };
            for thread in (0..board.threads()).filter_map(|it| board.thread(row, it)) {
                facts.exceptions += thread.exceptions.load(Relaxed);
                facts.sent = facts.sent.wrapping_add(thread.sent.load(Relaxed));
                let running = thread.running_us.load(Relaxed);
                facts.running_us = facts.running_us.wrapping_add(running);
                facts.is_busy |= thread.busy_since.load(Relaxed) != 0;
            }
            (facts.pid != 0 && facts.id != 0).then_some(facts)
        })
        .collect()
    }
}
