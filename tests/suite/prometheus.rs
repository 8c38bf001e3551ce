//! Metrics for Prometheus (`prometheus`).

use std::collections::BTreeMap;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::kit::*;

/// The metrics of uwsgi_exporter that dashboards use.
const OF_EXPORTER: &[&str] = &[
    "uwsgi_up",
    "uwsgi_listen_queue_length",
    "uwsgi_listen_queue_errors",
    "uwsgi_signal_queue_length",
    "uwsgi_workers",
    "uwsgi_socket_queue_length",
    "uwsgi_socket_max_queue_length",
    "uwsgi_socket_shared",
    "uwsgi_socket_can_offload",
    "uwsgi_worker_accepting",
    "uwsgi_worker_delta_requests",
    "uwsgi_worker_signal_queue_length",
    "uwsgi_worker_rss_bytes",
    "uwsgi_worker_vsz_bytes",
    "uwsgi_worker_running_time_seconds",
    "uwsgi_worker_last_spawn_time_seconds",
    "uwsgi_worker_average_response_time_seconds",
    "uwsgi_worker_apps",
    "uwsgi_worker_cores",
    "uwsgi_worker_busy",
    "uwsgi_worker_idle",
    "uwsgi_worker_cheap",
    "uwsgi_worker_requests_total",
    "uwsgi_worker_exceptions_total",
    "uwsgi_worker_harakiri_count_total",
    "uwsgi_worker_signals_total",
    "uwsgi_worker_respawn_count_total",
    "uwsgi_worker_transmitted_bytes_total",
    "uwsgi_worker_app_startup_time_seconds",
    "uwsgi_worker_app_requests_total",
    "uwsgi_worker_app_exceptions_total",
    "uwsgi_worker_core_busy",
    "uwsgi_worker_core_requests_total",
    "uwsgi_worker_core_static_requests_total",
    "uwsgi_worker_core_routed_requests_total",
    "uwsgi_worker_core_offloaded_requests_total",
    "uwsgi_worker_core_write_errors_total",
    "uwsgi_worker_core_read_errors_total",
];

/// Starts a server with metrics, and returns the address of the metrics too.
fn with_metrics(options: &[(&str, &str)]) -> (Server, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let launch = Site::with("processes").server();
    let server = launch.set("prometheus", &address).set_all(options).start();
    (server, address)
}

/// Sends a request head to the metrics' server and returns the response.
#[track_caller]
fn ask(server: &Server, address: &str, head: &str) -> Answer {
    let address = Address::parse(address, server.site.path());
    let mut connection = address.try_connect().unwrap();
    connection.put(format!("{head}\r\nHost: localhost\r\n\r\n").as_bytes());
    connection.answer()
}

/// The samples of the text format.
#[track_caller]
fn samples(server: &Server, address: &str) -> BTreeMap<String, f64> {
    let text = ask(server, address, "GET /metrics HTTP/1.1")
        .expect(200)
        .text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    samples.collect()
}

/// The sum of the samples of a metric that have this label.
fn sum(samples: &BTreeMap<String, f64>, name: &str, label: &str) -> f64 {
    let of_metric = samples
        .iter()
        .filter(|(sample, _)| sample.split('{').next() == Some(name) && sample.contains(label));
    of_metric.map(|(_, value)| value).sum()
}

#[test]
fn the_metrics_have_the_names_of_uwsgi_exporter_and_count_requests() {
    if differs("prometheus serves metrics for Prometheus without an exporter.") {
        return;
    }
    let (server, address) = with_metrics(&[("processes", "2")]);
    server.wait_for_workers(2);
    for _ in 0..3 {
        server.get("/pid").expect(200);
    }
    server.eventually("the requests are counted", || {
        let all = samples(&server, &address);
        sum(&all, "ruwsgi_responses_total", "class=\"2xx\"") == 3.0
    });
    let all = samples(&server, &address);
    for name in OF_EXPORTER {
        let found = all
            .keys()
            .any(|sample| sample.split('{').next() == Some(name));
        assert!(found, "{name} is not in {all:?}");
    }
    assert!(
        all.keys()
            .all(|sample| sample.contains(&format!("stats_uri=\"{address}\"")))
    );
    assert_eq!(sum(&all, "uwsgi_worker_requests_total", ""), 3.0);
    assert_eq!(sum(&all, "ruwsgi_request_duration_seconds_count", ""), 3.0);
    assert_eq!(
        sum(&all, "ruwsgi_request_duration_seconds_bucket", "+Inf"),
        3.0
    );
    assert_eq!(sum(&all, "ruwsgi_generation", ""), 1.0);
    // the counters continue after a reload and a death
    server.signal(Signal::SIGHUP);
    server.wait_for_log("generation 2 serves");
    let workers = server.wait_for_workers(2);
    server::send(workers[0], Signal::SIGKILL);
    server.eventually("the worker is replaced", || {
        let now = server.workers();
        now.len() == 2 && !now.contains(&workers[0])
    });
    let all = samples(&server, &address);
    assert_eq!(sum(&all, "ruwsgi_request_duration_seconds_count", ""), 3.0);
    assert_eq!(sum(&all, "uwsgi_worker_requests_total", ""), 3.0);
    assert!(sum(&all, "uwsgi_worker_respawn_count_total", "") >= 4.0);
    let mut server = server;
    server.expect_log("killed by signal 9");
    server.stop();
}

#[test]
fn only_get_and_head_of_the_metrics_are_answered() {
    if under_uwsgi() {
        return;
    }
    let (server, address) = with_metrics(&[]);
    let text = ask(&server, &address, "GET / HTTP/1.1").expect(200);
    assert_eq!(
        text.header("content-type"),
        Some("text/plain; version=0.0.4")
    );
    ask(&server, &address, "POST /metrics HTTP/1.1").expect(405);
    ask(&server, &address, "GET /secret HTTP/1.1").expect(404);
    let mut connection = Address::Tcp(address.clone()).try_connect().unwrap();
    connection.put(&vec![b'x'; 1 << 20]);
    connection.rest();
    ask(&server, &address, "HEAD /metrics HTTP/1.1").expect(200);
    server.stop();
}

/// Parses both formats with prometheus_client, and prints the number of requests of the text format.
const PARSE: &str = r#"
import sys, urllib.request
from prometheus_client.parser import text_string_to_metric_families as text
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
url = "http://%s/metrics" % sys.argv[1]
def fetch(accept):
    response = urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}))
    return response.headers["Content-Type"], response.read().decode()
kind, body = fetch("text/plain")
families = {family.name: family for family in text(body)}
kind, body = fetch("application/openmetrics-text; version=1.0.0, text/plain; q=0.5")
assert kind.startswith("application/openmetrics-text"), kind
others = {family.name: family for family in open_metrics(body)}
assert families.keys() == others.keys(), families.keys() ^ others.keys()
assert others["ruwsgi_request_duration_seconds"].type == "histogram"
requests = sum(sample.value for sample in families["uwsgi_worker_requests"].samples)
print(int(requests))
"#;

#[test]
fn the_parser_of_prometheus_client_reads_both_formats() {
    if under_uwsgi() {
        return;
    }
    let python = system_python();
    let venv = venv::shared("prometheus-client", &python, &["prometheus_client"]);
    let (server, address) = with_metrics(&[("processes", "2"), ("threads", "2")]);
    server.get("/pid").expect(200);
    let script = Command::new(venv.join("bin/python"))
        .args(["-c", PARSE, &address])
        .output();
    let output = script.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        text.trim(),
        "1",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    server.stop();
}
