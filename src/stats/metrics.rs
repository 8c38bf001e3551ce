//! The metrics of an instance for Prometheus. Some have the names of uwsgi_exporter. The names of the others begin with
//! `ruwsgi_`.

use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use crate::shared::measurements::{BOUNDS_US, Measurements};

use super::snapshot::InstanceSnapshot;
use super::worker::{WorkerReading, read_workers};

/// The media types of the two formats.
pub(super) const TEXT: &str = prometheus::TEXT_FORMAT;
pub(super) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The labels of a sample: names and values.
type Labels<'a> = Vec<(&'static str, &'a str)>;

/// The metrics in the text format.
pub(super) fn text(snapshot: &InstanceSnapshot, uri: &str) -> Vec<u8> {
    let workers = read_workers(snapshot);
    let mut families = Families {
        uri,
        all: Vec::new(),
    };
    families.instance(snapshot, &workers);
    families.sockets(snapshot);
    families.workers(&workers);
    families.cores(&workers, snapshot.threads);
    families.apps(&workers, snapshot);
    let text = TextEncoder::new().encode_to_string(&families.all);
    // an error would mean a family without samples or with an invalid name, which does not occur
    text.unwrap_or_default().into_bytes()
}

/// Converts the text format to OpenMetrics. The name of a counter's family has no suffix there, and the text ends with
/// a line `# EOF`.
pub(super) fn open_metrics(text: &str) -> String {
    let mut converted = String::with_capacity(text.len() + 16);
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", kind, name, rest] => {
                let name = name.strip_suffix("_total").unwrap_or(name);
                converted.push_str(&format!("# {kind} {name} {rest}"));
            }
            _ => converted.push_str(line),
        }
        converted.push('\n');
    }
    converted.push_str("# EOF\n");
    converted
}

/// The metric families, and the label that all samples have.
struct Families<'a> {
    uri: &'a str,
    all: Vec<MetricFamily>,
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

impl Families<'_> {
    fn gauge<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) {
        let metrics = samples.into_iter().map(|(labels, value)| {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            let mut metric = self.metric(&labels);
            metric.set_gauge(gauge);
            metric
        });
        let metrics = metrics.collect();
        self.add(name, help, MetricType::GAUGE, metrics);
    }

    /// Adds counters; `_total` is added to the name.
    fn counter<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) {
        let metrics = samples.into_iter().map(|(labels, value)| {
            let mut counter = Counter::default();
            counter.set_value(value);
            let mut metric = self.metric(&labels);
            metric.set_counter(counter);
            metric
        });
        let metrics = metrics.collect();
        let name = format!("{name}_total");
        self.add(&name, help, MetricType::COUNTER, metrics);
    }

    fn metric(&self, labels: &[(&str, &str)]) -> Metric {
        let all = [("stats_uri", self.uri)];
        let all = all.iter().chain(labels).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        Metric::from_label(all.collect())
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.all.push(family);
    }

    fn instance(&mut self, snapshot: &InstanceSnapshot, workers: &[WorkerReading]) {
        let one = |value: f64| [(Vec::new(), value)];
        let longest = snapshot.sockets.iter().map(|it| it.queue).max();
        let drops = snapshot.sockets.iter().map(|it| f64::from(it.drops));
        let in_flight: usize = workers.iter().map(|it| it.in_flight.len()).sum();
        let serving = workers.iter().filter(|it| it.is_accepting()).count();
        let threads = serving as f64 * f64::from(snapshot.threads);
        let generation = snapshot.generations.last().map_or(0, |it| it.number);
        self.gauge("uwsgi_up", "Whether the instance runs.", one(1.0));
        self.gauge(
            "uwsgi_listen_queue_length",
            "Longest accept queue, connections.",
            one(f64::from(longest.unwrap_or_default())),
        );
        self.gauge(
            "uwsgi_listen_queue_errors",
            "Connections that the kernel has dropped because an accept queue was full.",
            one(drops.sum()),
        );
        self.gauge("uwsgi_signal_queue_length", "Always 0.", one(0.0));
        self.gauge("uwsgi_workers", "Worker ids.", one(workers.len() as f64));
        self.gauge(
            "ruwsgi_generation",
            "Number of the newest generation: 1 plus the reloads that were begun.",
            one(f64::from(generation)),
        );
        self.gauge(
            "ruwsgi_requests_in_flight",
            "Requests in flight.",
            one(in_flight as f64),
        );
        self.gauge(
            "ruwsgi_saturation",
            "Busy threads divided by the threads of the workers that accept requests.",
            one(if threads > 0.0 {
                in_flight as f64 / threads
            } else {
                0.0
            }),
        );
        let mut sum = Measurements::default();
        workers
            .iter()
            .for_each(|it| sum.add(&it.counters.measurements));
        self.requests(&sum, workers);
    }

    fn requests(&mut self, sum: &Measurements, workers: &[WorkerReading]) {
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"]
            .into_iter()
            .zip(sum.classes);
        self.counter(
            "ruwsgi_responses",
            "Responses by status class.",
            classes.map(|(class, count)| (vec![("class", class)], count as f64)),
        );
        let mut cumulated = 0;
        let buckets = BOUNDS_US.iter().zip(sum.buckets).map(|(bound, count)| {
            cumulated += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(seconds(*bound));
            bucket.set_cumulative_count(cumulated);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(sum.buckets.iter().fold(0, |all, it| all.wrapping_add(*it)));
        histogram.set_sample_sum(seconds(sum.sum_us));
        let mut metric = self.metric(&[]);
        metric.set_histogram(histogram);
        self.add(
            "ruwsgi_request_duration_seconds",
            "Duration of requests.",
            MetricType::HISTOGRAM,
            vec![metric],
        );
        let refused = workers.iter().map(|it| it.counters.refused as f64).sum();
        self.counter(
            "ruwsgi_refused_requests",
            "Requests refused before they reached the application.",
            [(Vec::new(), refused)],
        );
        let statics = workers.iter().map(|it| it.sum.static_requests as f64).sum();
        self.counter(
            "ruwsgi_static_requests",
            "Requests answered with a static file.",
            [(Vec::new(), statics)],
        );
    }

    fn sockets(&mut self, snapshot: &InstanceSnapshot) {
        let sockets = || {
            snapshot.sockets.iter().map(|socket| {
                let labels = vec![("name", socket.name.as_str()), ("proto", socket.protocol)];
                (labels, socket)
            })
        };
        self.gauge(
            "uwsgi_socket_queue_length",
            "Connections in the accept queue.",
            sockets().map(|(labels, it)| (labels, f64::from(it.queue))),
        );
        self.gauge(
            "uwsgi_socket_max_queue_length",
            "Limit of the accept queue.",
            sockets().map(|(labels, it)| (labels, f64::from(it.limit))),
        );
        for name in ["uwsgi_socket_shared", "uwsgi_socket_can_offload"] {
            self.gauge(
                name,
                "Always 0.",
                sockets().map(|(labels, _)| (labels, 0.0)),
            );
        }
    }

    fn workers(&mut self, workers: &[WorkerReading]) {
        let ids: Vec<String> = workers.iter().map(|it| it.id.to_string()).collect();
        let each = |value: &dyn Fn(&WorkerReading) -> f64| -> Vec<(Labels<'_>, f64)> {
            let samples = ids.iter().zip(workers);
            samples
                .map(|(id, worker)| (vec![("worker_id", id.as_str())], value(worker)))
                .collect()
        };
        for (name, help, value) in WORKER_GAUGES {
            self.gauge(&format!("uwsgi_worker_{name}"), help, each(value));
        }
        for (name, help, value) in WORKER_COUNTERS {
            self.counter(&format!("uwsgi_worker_{name}"), help, each(value));
        }
    }

    fn cores(&mut self, workers: &[WorkerReading], threads: u32) {
        let numbers: Vec<String> = (0..threads).map(|it| it.to_string()).collect();
        let ids: Vec<String> = workers.iter().map(|it| it.id.to_string()).collect();
        let each = |value: &dyn Fn(&WorkerReading, usize) -> f64| {
            let mut samples: Vec<(Labels<'_>, f64)> = Vec::new();
            for (id, worker) in ids.iter().zip(workers) {
                let used = worker.counters.cores.len().min(numbers.len());
                samples.extend((0..used).map(|core| {
                    let labels = vec![
                        ("worker_id", id.as_str()),
                        ("core_id", numbers[core].as_str()),
                    ];
                    (labels, value(worker, core))
                }));
            }
            samples
        };
        let busy = each(&|worker, core| {
            let busy = worker.in_flight.iter().any(|it| it.core as usize == core);
            f64::from(u8::from(busy))
        });
        self.gauge(
            "uwsgi_worker_core_busy",
            "Whether the thread serves a request.",
            busy,
        );
        for (name, help, value) in CORE_COUNTERS {
            self.counter(&format!("uwsgi_worker_core_{name}"), help, each(value));
        }
        for name in ["routed_requests", "offloaded_requests", "read_errors"] {
            let zero = each(&|_, _| 0.0);
            self.counter(&format!("uwsgi_worker_core_{name}"), "Always 0.", zero);
        }
    }

    fn apps(&mut self, workers: &[WorkerReading], snapshot: &InstanceSnapshot) {
        let ids: Vec<String> = workers.iter().map(|it| it.id.to_string()).collect();
        let apps: Vec<String> = (0..snapshot.apps.len()).map(|it| it.to_string()).collect();
        let each = |value: &dyn Fn(&WorkerReading) -> f64| {
            let mut samples: Vec<(Labels<'_>, f64)> = Vec::new();
            for (id, worker) in ids.iter().zip(workers) {
                for (app_id, app) in apps.iter().zip(&snapshot.apps) {
                    let labels = vec![
                        ("worker_id", id.as_str()),
                        ("app_id", app_id.as_str()),
                        ("mountpoint", app.mountpoint.as_str()),
                        ("chdir", app.directory.as_str()),
                    ];
                    samples.push((labels, value(worker)));
                }
            }
            samples
        };
        let counts = ids.iter().map(|id| {
            let labels = vec![("worker_id", id.as_str())];
            (labels, apps.len() as f64)
        });
        self.gauge("uwsgi_worker_apps", "Applications of the worker.", counts);
        self.gauge(
            "uwsgi_worker_app_startup_time_seconds",
            "Time to load the application.",
            each(&|it| it.startup_seconds as f64),
        );
        self.counter(
            "uwsgi_worker_app_requests",
            "Requests of the worker.",
            each(&|it| it.sum.requests as f64),
        );
        self.counter(
            "uwsgi_worker_app_exceptions",
            "Exceptions of the worker.",
            each(&|it| it.sum.exceptions as f64),
        );
    }
}

/// A metric of a worker: its name, its description and its value.
type WorkerMetric = (
    &'static str,
    &'static str,
    &'static dyn Fn(&WorkerReading) -> f64,
);

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// A metric of a thread: its name, its description and its value.
type CoreMetric = (
    &'static str,
    &'static str,
    &'static dyn Fn(&WorkerReading, usize) -> f64,
);

const CORE_COUNTERS: [CoreMetric; 3] = [
    ("requests", "Requests of the thread.", &|worker, core| {
        worker.counters.cores[core].requests as f64
    }),
    (
        "static_requests",
        "Static files served by the thread.",
        &|worker, core| worker.counters.cores[core].static_requests as f64,
    ),
    (
        "write_errors",
        "Responses of the thread that broke off.",
        &|worker, core| worker.counters.cores[core].write_errors as f64,
    ),
];

const WORKER_GAUGES: [WorkerMetric; 12] = [
    ("accepting", "Whether the worker accepts requests.", &|it| {
        flag(it.is_accepting())
    }),
    (
        "delta_requests",
        "Requests of the current process.",
        &|it| it.delta_requests as f64,
    ),
    ("signal_queue_length", "Always 0.", &|_| 0.0),
    ("rss_bytes", "Resident memory.", &|it| it.rss as f64),
    ("vsz_bytes", "Address space.", &|it| it.vsz as f64),
    (
        "running_time_seconds",
        "Total duration of the requests.",
        &|it| seconds(it.sum.running_us),
    ),
    (
        "last_spawn_time_seconds",
        "Start of the current process, seconds since 1970.",
        &|it| it.counters.tally.last_spawn as f64,
    ),
    (
        "average_response_time_seconds",
        "Moving average of the duration of requests.",
        &|it| seconds(it.average_us),
    ),
    ("cores", "Threads.", &|it| it.counters.cores.len() as f64),
    ("busy", "Whether a request is in flight.", &|it| {
        flag(it.is_busy())
    }),
    (
        "idle",
        "Whether the worker has a process and no request.",
        &|it| flag(it.holder.is_some() && !it.is_busy()),
    ),
    ("cheap", "Whether the worker has no process.", &|it| {
        flag(it.holder.is_none())
    }),
];

const WORKER_COUNTERS: [WorkerMetric; 6] = [
    ("requests", "Requests begun.", &|it| it.sum.requests as f64),
    (
        "exceptions",
        "Requests in which the application has failed.",
        &|it| it.sum.exceptions as f64,
    ),
    (
        "harakiri_count",
        "Requests that exceeded harakiri.",
        &|it| it.counters.tally.harakiri as f64,
    ),
    ("signals", "Signals of the application handled.", &|it| {
        it.counters.signals as f64
    }),
    (
        "respawn_count",
        "Processes that have had the worker id.",
        &|it| it.counters.tally.spawns as f64,
    ),
    ("transmitted_bytes", "Bytes sent.", &|it| it.sum.sent as f64),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_names_the_family_of_a_counter_without_its_suffix() {
        let text = "# HELP a_total Help total.\n# TYPE a_total counter\na_total{x=\"1\"} 2\n";
        let expected = "# HELP a Help total.\n# TYPE a counter\na_total{x=\"1\"} 2\n# EOF\n";
        assert_eq!(open_metrics(text), expected);
    }
}
