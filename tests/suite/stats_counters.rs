//! The statistics over time: counters that never go backwards, and readers that do not read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::stats::{list, number, statistics, with_stats};
use crate::kit::load::{load, scaled, succeeds};
use crate::kit::*;

const COUNTERS: [&str; 7] = [
    "requests",
    "exceptions",
    "harakiri_count",
    "running_time",
    "last_spawn",
    "respawn_count",
    "tx",
];

/// The last values of the counters by worker id.
#[derive(Default)]
struct Counters(BTreeMap<(i64, String), i64>);

impl Counters {
    /// Checks that the ids are 1 to `processes`, and that no counter has decreased. Returns the number of requests.
    #[track_caller]
    fn check(&mut self, all: &Value, processes: i64) -> i64 {
        let workers = list(all, "workers");
        let ids: Vec<i64> = workers.iter().map(|worker| number(worker, "id")).collect();
        assert_eq!(ids, (1..=processes).collect::<Vec<_>>());
        for worker in workers {
            let id = number(worker, "id");
            for name in COUNTERS {
                let value = number(worker, name);
                let before = self.0.insert((id, name.to_owned()), value);
                assert!(
                    before.is_none_or(|it| it <= value),
                    "{name} of {id}: {before:?} -> {value}"
                );
            }
            for core in list(worker, "cores") {
                let name = format!("core {}", core["id"]);
                let value = number(core, "requests");
                let before = self.0.insert((id, name.clone()), value);
                assert!(
                    before.is_none_or(|it| it <= value),
                    "{name} of {id}: {before:?} -> {value}"
                );
            }
        }
        workers
            .iter()
            .map(|worker| number(worker, "requests"))
            .sum()
    }
}

#[test]
fn counters_never_decrease_over_deaths_and_reloads() {
    if differs(
        "The counters of the statistics continue over reloads, and the worker ids stay 1 to processes.",
    ) {
        return;
    }
    let server = with_stats(&[("processes", "2"), ("threads", "2")]);
    server.wait_for_workers(2);
    let mut counters = Counters::default();
    let outcome = load(&server, 3, "/pid", |answered| {
        for round in 0..scaled(10, 40) {
            let reloaded = format!("generation {} serves", round + 2);
            server.signal(Signal::SIGHUP);
            while server.log_lines(&reloaded).is_empty() {
                counters.check(&statistics(&server), 2);
            }
            let enough = answered.load(Relaxed) + 20;
            server.eventually("requests are answered", || answered.load(Relaxed) >= enough);
        }
    });
    let workers = server.wait_for_workers(2);
    // a killed worker keeps its counters too
    server::send(workers[0], Signal::SIGKILL);
    server.eventually("the worker is replaced", || {
        counters.check(&statistics(&server), 2);
        let now = server.workers();
        now.len() == 2 && !now.contains(&workers[0])
    });
    let total = counters.check(&statistics(&server), 2);
    assert!(
        total >= outcome.answered as i64,
        "{total} of {}",
        outcome.answered
    );
    assert!(total <= (outcome.answered + outcome.lost) as i64, "{total}");
    let mut server = server;
    server.expect_log("killed by signal 9");
    server.stop();
}

#[test]
fn deaths_harakiri_and_exceptions_are_counted_by_worker() {
    if under_uwsgi() {
        return;
    }
    let app = "import time\n\
        def application(e, s):\n\
        \x20   if e['PATH_INFO'] == '/fail':\n\
        \x20       raise ValueError('on purpose')\n\
        \x20   if e['PATH_INFO'] == '/slow':\n\
        \x20       time.sleep(600)\n\
        \x20   s('200 OK', [])\n\
        \x20   return [b'x']\n";
    let site = Site::of(app);
    let launch = site.server().set("stats", site.at("stats.sock"));
    let mut server = launch.set("harakiri", 1).start();
    server.get("/fail").expect(500);
    server.get("/slow").expect(504);
    server.expect_log("on purpose");
    server.expect_log("aborted after");
    let worker = || statistics(&server)["workers"][0].clone();
    server.eventually("the request is aborted", || {
        number(&worker(), "harakiri_count") == 1
    });
    assert!(number(&worker(), "exceptions") >= 1);
    assert_eq!(number(&worker(), "requests"), 2);
    // the thread is interrupted after the request was counted
    server.eventually("the request has ended", || {
        number(&worker(), "running_time") > 900_000
    });
    server::send(server.workers()[0], Signal::SIGKILL);
    server.eventually("the worker is replaced", || {
        number(&worker(), "respawn_count") == 2
    });
    assert_eq!(number(&worker(), "requests"), 2);
    assert_eq!(number(&worker(), "delta_requests"), 0);
    server.expect_log("killed by signal 9");
    server.stop();
}

#[test]
fn a_paused_or_cheap_instance_has_workers_without_a_process() {
    if under_uwsgi() {
        return;
    }
    let server = with_stats(&[("processes", "3"), ("cheaper", "1")]);
    server.eventually("one worker serves", || {
        let all = statistics(&server);
        let states = list(&all, "workers").iter();
        let states: Vec<_> = states
            .map(|it| (it["status"].clone(), number(it, "pid") > 0))
            .collect();
        states
            == [
                ("idle".into(), true),
                ("cheap".into(), false),
                ("cheap".into(), false),
            ]
    });
    server.stop();
}

#[test]
fn readers_that_do_not_read_delay_nobody() {
    if differs(
        "A reader of the statistics that does not read delays neither the master nor other readers.",
    ) {
        return;
    }
    let server = with_stats(&[("processes", "2"), ("threads", "64")]);
    server.wait_for_workers(2);
    let address = Address::Unix(server.site.file("stats.sock"));
    let silent: Vec<_> = (0..20).map(|_| address.try_connect().unwrap()).collect();
    // all at once: as many as the listen queue holds wait there
    let count = scaled(300, 1000);
    let complete = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut all: Vec<_> = (0..count / 8)
                    .map(|_| address.try_connect().unwrap())
                    .collect();
                for connection in &mut all {
                    connection.set_timeout(Duration::from_secs(30));
                    let (bytes, _) = connection.rest();
                    assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
                    complete.fetch_add(1, Relaxed);
                }
            });
        }
        for _ in 0..20 {
            assert!(succeeds(&server, "/pid"));
        }
        server.signal(Signal::SIGHUP);
        server.wait_for_log("generation 2 serves");
    });
    assert_eq!(complete.into_inner(), count / 8 * 8);
    drop(silent);
    server.stop();
}
