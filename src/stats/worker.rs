//! The state of each worker at one moment: counters, process, memory, and requests in flight.

use std::sync::atomic::Ordering::Relaxed;

use crate::shared::scoreboard::{Scoreboard, ThreadRow};
use crate::sys::clock::monotonic_micros;
use crate::sys::memory::Memory;
use crate::sys::process::Pid;

use super::counters::{CoreCounters, WorkerCounters};
use super::generation::{GenerationView, Holder, Stage};
use super::snapshot::InstanceSnapshot;

/// The worker with one id.
pub(super) struct WorkerReading {
    pub(super) id: u32,
    /// The process that has the id; `None` without a process.
    pub(super) holder: Option<Holder>,
    /// The counters of all processes that have had the id.
    pub(super) counters: WorkerCounters,
    /// The sums of `counters`.
    pub(super) sum: CoreCounters,
    /// Number of requests of the current process.
    pub(super) delta_requests: u64,
    /// Moving average of the duration of a request, microseconds.
    pub(super) average_us: u64,
    /// Resident memory and address space, bytes.
    pub(super) rss: u64,
    pub(super) vsz: u64,
    pub(super) startup_seconds: u64,
    /// The signal of the application whose handler runs.
    pub(super) signal: Option<u32>,
    /// The requests in flight.
    pub(super) in_flight: Vec<InFlight>,
}

/// A request in flight.
pub(super) struct InFlight {
    /// The thread's index, from 0.
    pub(super) core: u32,
    pub(super) age_us: u64,
    /// `METHOD URI`, possibly truncated.
    pub(super) request: String,
    pub(super) client: String,
}

impl WorkerReading {
    pub(super) fn is_accepting(&self) -> bool {
        self.holder.is_some_and(|it| it.stage == Stage::Serving)
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.in_flight.is_empty()
    }
}

/// Reads the state of each worker id, from 1 to `processes`.
pub(super) fn read_workers(snapshot: &InstanceSnapshot) -> Vec<WorkerReading> {
    let clock = monotonic_micros();
    let retired = &snapshot.retired;
    let all = retired.with(&snapshot.generations, snapshot.processes);
    let all = (1..).zip(all);
    all.map(|(id, counters)| read_worker(snapshot, id, counters, clock))
        .collect()
}

fn read_worker(
    snapshot: &InstanceSnapshot,
    id: u32,
    counters: WorkerCounters,
    clock: u64,
) -> WorkerReading {
    let mut reading = WorkerReading {
        id,
        holder: None,
        sum: counters.sum(),
        counters,
        delta_requests: 0,
        average_us: 0,
        rss: 0,
        vsz: 0,
        startup_seconds: 0,
        signal: None,
        in_flight: Vec::new(),
    };
    if let Some((generation, row, holder)) = holder_of(snapshot, id) {
        let board = &generation.board;
        reading.holder = Some(holder);
        reading.delta_requests = board.worker_requests(row);
        reading.average_us = average(board, row);
        reading.startup_seconds = generation.startup_seconds;
        let signals = threads(board, row).map(|(_, thread)| thread.signal.load(Relaxed));
        reading.signal = signals.max().and_then(|signal| signal.checked_sub(1));
        reading.in_flight = requests_in_flight(board, row, clock);
        if let Some(memory) = Pid::new(holder.pid).and_then(Memory::of) {
            reading.rss = memory.resident;
            reading.vsz = memory.address_space;
        }
    }
    reading
}

/// The process that has a worker id, with its generation and its row. If two processes have the id, the process of the
/// newer generation is returned.
fn holder_of(snapshot: &InstanceSnapshot, id: u32) -> Option<(&GenerationView, u32, Holder)> {
    let slots = snapshot.generations.iter().flat_map(|generation| {
        let slots = generation.slots.iter().filter(move |it| it.worker_id == id);
        slots.filter_map(move |it| Some((generation, it.row, it.holder?)))
    });
    slots.max_by_key(|(generation, _, holder)| (holder.stage, generation.number))
}

/// The mean of the averages of all threads that have served requests.
fn average(board: &Scoreboard, row: u32) -> u64 {
    let threads = threads(board, row).map(|(_, thread)| thread.average_us.load(Relaxed));
    let averages: Vec<u64> = threads.filter(|average| *average > 0).collect();
    let sum = averages
        .iter()
        .fold(0, |sum: u64, it| sum.saturating_add(*it));
    sum.checked_div(averages.len() as u64).unwrap_or(0)
}

fn requests_in_flight(board: &Scoreboard, row: u32, clock: u64) -> Vec<InFlight> {
    let busy = threads(board, row).filter_map(|(core, thread)| {
        let since = thread.busy_since.load(Relaxed);
        (since != 0).then(|| {
            let note = String::from_utf8_lossy(&thread.read_note()).into_owned();
            let (request, client) = note.rsplit_once(' ').unwrap_or((&note, ""));
            InFlight {
                core,
                age_us: clock.saturating_sub(since),
                request: request.to_owned(),
                client: client.to_owned(),
            }
        })
    });
    busy.collect()
}

fn threads(board: &Scoreboard, row: u32) -> impl Iterator<Item = (u32, &ThreadRow)> {
    (0..board.threads()).filter_map(move |core| Some((core, board.thread(row, core)?)))
}
