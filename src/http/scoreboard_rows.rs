//! The counters of an engine: the worker's rows on the scoreboard.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use super::loss::Loss;
use super::request::Request;
use super::request_lines::RequestLines;
use super::response::Response;
use crate::log::request_log;
use crate::shared::scoreboard::{NOTE, Scoreboard, ThreadRow, WorkerRow};
use crate::sys::clock::monotonic_micros;

/// The part of the server that has answered a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answerer {
    /// The application.
    Application,
    /// A static file.
    StaticFile,
    /// A rule of `route`.
    Route,
}

/// The rows of one worker. Each thread writes only its own row.
pub struct ScoreboardRows {
    /// The scoreboard of the generation.
    pub board: Scoreboard,
    /// The worker's row, from 1.
    pub row: u32,
    /// The worker's id, from 1. Log lines show it.
    pub worker_id: u32,
    /// The worker's ring of request lines; `None` if the engine writes each line itself.
    pub lines: Option<RequestLines>,
}

impl ScoreboardRows {
    /// The row of the worker.
    pub fn worker(&self) -> Option<&WorkerRow> {
        self.board.worker(self.row)
    }

    /// The row of a thread.
    #[inline]
    pub fn thread(&self, thread: u32) -> Option<&ThreadRow> {
        self.board.thread(self.row, thread)
    }

    /// Number of requests that the worker has begun.
    pub fn requests(&self) -> u64 {
        self.board.worker_requests(self.row)
    }

    /// Records that the thread begins a request.
    #[inline]
    pub fn begin(&self, thread: u32, request: &Request) {
        let Some(row) = self.thread(thread) else {
            return;
        };
        add(&row.requests, 1);
        let mut note = [0u8; NOTE];
        let len = request.describe(&mut note);
        row.note(&note[..len]);
        row.vars.store(request.vars.len() as u32, Relaxed);
        row.block.store(request.block_len as u32, Relaxed);
        row.deadline.store(0, Relaxed);
        row.busy_since.store(monotonic_micros(), Relaxed);
    }

    /// Counts the request that the thread has finished. Call [`ScoreboardRows::idle`] after the request's log line is
    /// written. Returns the request's duration in microseconds. The duration of a request for a static file is not
    /// counted.
    #[inline]
    pub fn finish(&self, thread: u32, response: &Response, answerer: Answerer) -> u64 {
        let Some(row) = self.thread(thread) else {
            return 0;
        };
        let begun = row.busy_since.load(Relaxed);
        let duration = monotonic_micros().saturating_sub(begun);
        match answerer {
            Answerer::Application => {
                add(&row.running_us, duration);
                let average = row.average_us.load(Relaxed).wrapping_add(duration) / 2;
                row.average_us.store(average, Relaxed);
            }
            Answerer::StaticFile => add(&row.static_requests, 1),
            Answerer::Route => add(&row.routed_requests, 1),
        }
        if let Some(measurements) = self.board.measurements(self.row, thread) {
            measurements.count(duration, response.head.code());
        }
        add(&row.sent, response.bytes_sent());
        if response.loss().is_some_and(Loss::is_write_error) {
            add(&row.write_errors, 1);
        }
        duration
    }

    /// Records that the thread has no request. If the worker is killed before this call, the master writes the missing
    /// log line of the request.
    #[inline]
    pub fn idle(&self, thread: u32) {
        if let Some(row) = self.thread(thread) {
            row.busy_since.store(0, Relaxed);
        }
    }

    /// Gives a request line, with its line feed, to the log. `thread` is the number of the calling thread, if the line
    /// belongs to the thread's current request. If the worker is killed afterwards, the line is not lost, and the
    /// master does not write it a second time.
    #[inline]
    pub fn log(&self, thread: Option<u32>, line: &[u8]) {
        match &self.lines {
            Some(lines) => lines.append(thread.and_then(|thread| self.thread(thread)), line),
            None => request_log::write(line),
        }
    }

    /// Records that the application has failed in a request of the thread.
    pub fn exception(&self, thread: u32) {
        if let Some(row) = self.thread(thread) {
            row.exceptions.fetch_add(1, Relaxed);
        }
    }

    /// Records that a response has ended in the I/O thread, which has sent `sent` bytes of it.
    pub fn end_slow_response(&self, sent: u64, loss: Option<Loss>) {
        if let Some(row) = self.worker() {
            row.sent.fetch_add(sent, Relaxed);
            if loss.is_some_and(Loss::is_write_error) {
                row.write_errors.fetch_add(1, Relaxed);
            }
        }
    }

    /// Counts a request that was refused.
    pub fn refused(&self) {
        if let Some(row) = self.worker() {
            row.refused.fetch_add(1, Relaxed);
        }
    }

    /// Records the number of connections in the I/O thread.
    pub fn set_pending(&self, count: usize) {
        if let Some(row) = self.worker() {
            row.pending_connections.store(count as u32, SeqCst);
        }
    }
}

/// Adds to a counter that only this thread writes. A load and a store are cheaper than an atomic addition.
#[inline]
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed) + amount, Relaxed);
}
