//! The counters of workers by worker id. They are read from scoreboards, and kept after the end of a generation.

use std::sync::atomic::Ordering::Relaxed;

use crate::shared::measurements::Measurements;
use crate::shared::scoreboard::{Scoreboard, ThreadRow};

use super::generation::{GenerationView, WorkerTally};

/// The counters of a thread, or the sums over all threads with one number.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CoreCounters {
    pub(crate) requests: u64,
    pub(crate) static_requests: u64,
    pub(crate) routed_requests: u64,
    pub(crate) exceptions: u64,
    pub(crate) sent: u64,
    pub(crate) running_us: u64,
    pub(crate) write_errors: u64,
}

/// The counters of all workers with one id. They never decrease. Additions wrap around, because the application can
/// write any value to the scoreboard.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorkerCounters {
    pub(crate) cores: Vec<CoreCounters>,
    /// Bytes that the I/O thread has sent, and incomplete responses of the I/O thread.
    pub(crate) io_sent: u64,
    pub(crate) io_write_errors: u64,
    pub(crate) refused: u64,
    /// Number of signals of the application whose handlers have run.
    pub(crate) signals: u64,
    pub(crate) tally: WorkerTally,
    /// The distribution of the requests; zero if it is not counted.
    pub(crate) measurements: Measurements,
}

impl CoreCounters {
    fn of(row: &ThreadRow) -> Self {
        Self {
            requests: row.requests.load(Relaxed),
            static_requests: row.static_requests.load(Relaxed),
            routed_requests: row.routed_requests.load(Relaxed),
            exceptions: row.exceptions.load(Relaxed),
            sent: row.sent.load(Relaxed),
            running_us: row.running_us.load(Relaxed),
            write_errors: row.write_errors.load(Relaxed),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.requests, other.requests),
            (&mut self.static_requests, other.static_requests),
            (&mut self.routed_requests, other.routed_requests),
            (&mut self.exceptions, other.exceptions),
            (&mut self.sent, other.sent),
            (&mut self.running_us, other.running_us),
            (&mut self.write_errors, other.write_errors),
        ] {
            *sum = sum.wrapping_add(more);
        }
    }
}

impl WorkerCounters {
    /// The sum over all threads.
    pub(crate) fn sum(&self) -> CoreCounters {
        let mut sum = CoreCounters {
            sent: self.io_sent,
            write_errors: self.io_write_errors,
            ..CoreCounters::default()
        };
        self.cores.iter().for_each(|core| sum.add(core));
        sum
    }

    fn core(&mut self, index: usize) -> &mut CoreCounters {
        if self.cores.len() <= index {
            self.cores.resize(index + 1, CoreCounters::default());
        }
        &mut self.cores[index]
    }

    fn add(&mut self, other: &Self) {
        for (index, core) in other.cores.iter().enumerate() {
            self.core(index).add(core);
        }
        self.io_sent = self.io_sent.wrapping_add(other.io_sent);
        self.io_write_errors = self.io_write_errors.wrapping_add(other.io_write_errors);
        self.refused = self.refused.wrapping_add(other.refused);
        self.signals = self.signals.wrapping_add(other.signals);
        self.tally.add(&other.tally);
        self.measurements.add(&other.measurements);
    }

    fn add_row(&mut self, board: &Scoreboard, row: u32) {
        for thread in 0..board.threads() {
            if let Some(counters) = board.thread(row, thread) {
                let counters = CoreCounters::of(counters);
                self.core(thread as usize).add(&counters);
            }
            if let Some(measurements) = board.measurements(row, thread) {
                measurements.add_to(&mut self.measurements);
            }
        }
        if let Some(worker) = board.worker(row) {
            self.io_sent = self.io_sent.wrapping_add(worker.sent.load(Relaxed));
            let write_errors = worker.write_errors.load(Relaxed);
            self.io_write_errors = self.io_write_errors.wrapping_add(write_errors);
            self.refused = self.refused.wrapping_add(worker.refused.load(Relaxed));
            self.signals = self.signals.wrapping_add(worker.signals.load(Relaxed));
        }
    }
}

/// The counters of the generations whose processes have all exited, by worker id.
#[derive(Clone, Debug, Default)]
pub(crate) struct RetiredWorkers {
    workers: Vec<WorkerCounters>,
}

impl RetiredWorkers {
    /// Adds the counters of a generation whose processes have all exited.
    pub(crate) fn add(&mut self, generation: &GenerationView) {
        for (worker_id, counters) in (1..).zip(of_generation(generation)) {
            self.at(worker_id).add(&counters);
        }
    }

    /// The counters of all workers with this id: workers of ended generations, and workers of `generations`.
    pub(super) fn with(
        &self,
        generations: &[GenerationView],
        processes: u32,
    ) -> Vec<WorkerCounters> {
        let mut all = self.clone();
        generations.iter().for_each(|it| all.add(it));
        all.workers
            .resize(processes as usize, WorkerCounters::default());
        all.workers
    }

    fn at(&mut self, worker_id: u32) -> &mut WorkerCounters {
        let index = worker_id.saturating_sub(1) as usize;
        if self.workers.len() <= index {
            self.workers.resize(index + 1, WorkerCounters::default());
        }
        &mut self.workers[index]
    }
}

/// The counters of a generation, by worker id; the first entry is for worker 1.
fn of_generation(generation: &GenerationView) -> Vec<WorkerCounters> {
    let mut workers = vec![WorkerCounters::default(); generation.tallies.len()];
    for (worker, tally) in workers.iter_mut().zip(&generation.tallies) {
        worker.tally = *tally;
    }
    for slot in &generation.slots {
        let index = slot.worker_id.saturating_sub(1) as usize;
        if let Some(worker) = workers.get_mut(index) {
            worker.add_row(&generation.board, slot.row);
        }
    }
    workers
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stats::generation::SlotView;

    fn generation(requests: [u64; 3]) -> GenerationView {
        let board = Scoreboard::create(3, 2).unwrap();
        for (row, count) in (1..).zip(requests) {
            let thread = board.thread(row, 1).unwrap();
            thread.requests.store(count, Relaxed);
        }
        let slot = |row, worker_id| SlotView {
            row,
            worker_id,
            holder: None,
        };
        GenerationView {
            number: 1,
            board: Arc::new(board),
            slots: vec![slot(1, 1), slot(2, 2), slot(3, 1)],
            tallies: vec![WorkerTally::default(); 2],
            startup_seconds: 0,
        }
    }

    fn requests(workers: &[WorkerCounters]) -> Vec<u64> {
        workers.iter().map(|it| it.sum().requests).collect()
    }

    #[test]
    fn counters_are_added_by_worker_id_and_kept_when_a_generation_is_gone() {
        let mut retired = RetiredWorkers::default();
        let old = generation([1, 2, 4]);
        let new = generation([8, 16, 32]);
        let all = [old, new];
        assert_eq!(requests(&retired.with(&all, 3)), [45, 18, 0]);
        let [old, new] = all;
        retired.add(&old);
        assert_eq!(requests(&retired.with(&[new], 2)), [45, 18]);
    }

    #[test]
    fn values_of_the_application_do_not_overflow() {
        let mut retired = RetiredWorkers::default();
        retired.add(&generation([u64::MAX, 1, 1]));
        assert_eq!(requests(&retired.with(&[], 2)), [0, 1]);
    }
}
