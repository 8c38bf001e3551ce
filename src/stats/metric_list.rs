//! The metrics of uWSGI's metrics subsystem, as pushers send them. Times are in microseconds.

use super::counters::CoreCounters;
use super::json::int;
use super::snapshot::InstanceSnapshot;
use super::worker::{WorkerReading, read_workers};

/// The type of a metric. The number is that of uWSGI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter = 0,
    Gauge = 1,
    Absolute = 2,
}

/// A metric.
#[derive(Clone, Debug)]
pub(super) struct NamedMetric {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) value: i64,
}

/// Lists all metrics.
pub(super) fn list(snapshot: &InstanceSnapshot) -> Vec<NamedMetric> {
    let workers = read_workers(snapshot);
    let mut all = Vec::new();
    let mut add = |name: String, kind, value| {
        all.push(NamedMetric { name, kind, value });
    };
    let busy = workers.iter().filter(|it| it.is_busy()).count();
    let processes = workers.iter().filter(|it| it.holder.is_some()).count();
    let signals = workers.iter().map(|it| it.counters.signals);
    add(
        "core.routed_signals".to_owned(),
        Kind::Counter,
        int(signals.sum()),
    );
    add(
        "core.busy_workers".to_owned(),
        Kind::Gauge,
        int(busy as u64),
    );
    let idle = processes.saturating_sub(busy) as u64;
    add("core.idle_workers".to_owned(), Kind::Gauge, int(idle));
    for worker in &workers {
        for (name, kind, value) in of_worker(worker) {
            add(format!("worker.{}.{name}", worker.id), kind, value);
        }
        for (core, counters) in worker.counters.cores.iter().enumerate() {
            for (name, value) in of_core(counters) {
                let name = format!("worker.{}.core.{core}.{name}", worker.id);
                add(name, Kind::Counter, value);
            }
        }
    }
    for (name, kind, value) in totals(&workers) {
        add(name.to_owned(), kind, value);
    }
    for (index, socket) in snapshot.sockets.iter().enumerate() {
        let name = format!("socket.{index}.listen_queue");
        add(name, Kind::Gauge, i64::from(socket.queue));
    }
    all
}

fn of_worker(worker: &WorkerReading) -> [(&'static str, Kind, i64); 9] {
    let sum = &worker.sum;
    [
        ("requests", Kind::Counter, int(sum.requests)),
        ("delta_requests", Kind::Absolute, int(worker.delta_requests)),
        ("failed_requests", Kind::Counter, int(sum.exceptions)),
        ("respawns", Kind::Counter, int(worker.counters.tally.spawns)),
        ("avg_response_time", Kind::Gauge, int(worker.average_us)),
        ("total_tx", Kind::Counter, int(sum.sent)),
        ("rss_size", Kind::Gauge, int(worker.rss)),
        ("vsz_size", Kind::Gauge, int(worker.vsz)),
        ("running_time", Kind::Counter, int(sum.running_us)),
    ]
}

fn of_core(counters: &CoreCounters) -> [(&'static str, i64); 4] {
    [
        ("requests", int(counters.requests)),
        ("write_errors", int(counters.write_errors)),
        ("static_requests", int(counters.static_requests)),
        ("exceptions", int(counters.exceptions)),
    ]
}

fn totals(workers: &[WorkerReading]) -> [(&'static str, Kind, i64); 6] {
    let sum = |value: &dyn Fn(&WorkerReading) -> u64| {
        let values = workers.iter().map(value);
        int(values.fold(0, u64::saturating_add))
    };
    let served = workers.iter().filter(|it| it.average_us > 0).count() as i64;
    let average = sum(&|it| it.average_us).checked_div(served).unwrap_or(0);
    [
        (
            "worker.0.requests",
            Kind::Counter,
            sum(&|it| it.sum.requests),
        ),
        ("core.total_tx", Kind::Counter, sum(&|it| it.sum.sent)),
        ("core.total_rss", Kind::Gauge, sum(&|it| it.rss)),
        ("core.total_vsz", Kind::Gauge, sum(&|it| it.vsz)),
        ("core.avg_response_time", Kind::Gauge, average),
        (
            "core.total_running_time",
            Kind::Counter,
            sum(&|it| it.sum.running_us),
        ),
    ]
}
