//! Number of workers: `cheaper` and how it follows the load.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;

use crate::kit::*;

fn server(options: &[(&str, &str)]) -> Server {
    let launch = Site::with("life").server().set("cheaper-overload", 1);
    launch.set_all(options).start()
}

/// Sends requests for `path` from `clients` clients until `until` returns; each must succeed.
fn under_load(server: &Server, clients: usize, path: &str, until: impl FnOnce()) {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    server.get(path).expect(200);
                }
            });
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(until));
        ended.store(true, Ordering::Relaxed);
        if let Err(failure) = outcome {
            std::panic::resume_unwind(failure);
        }
    });
}

#[test]
fn the_number_of_workers_follows_the_load() {
    let server = server(&[("processes", "4"), ("cheaper", "1")]);
    server.wait_for_workers(1);
    under_load(&server, 8, "/sleep?0.2", || {
        server.wait_for_workers(4);
    });
    server.wait_for_workers(1);
    server.get("/").expect_text("hello");
}

#[test]
fn a_superfluous_worker_finishes_its_request_first() {
    let server = server(&[
        ("processes", "3"),
        ("cheaper", "1"),
        ("cheaper-initial", "3"),
        ("worker-reload-mercy", "1"),
    ]);
    // one request in each worker
    let mut asked = [(); 3].map(|()| {
        let mut connection = server.ask(&get("/stream?8"));
        connection.until("begun");
        connection
    });
    drop(asked[0].until("ended"));
    let mut others = asked.into_iter().skip(1);
    others.all(|mut connection| connection.until("ended").contains("ended"));
    server.wait_for_workers(1);
    assert!(!server.log().contains("killed"), "{}", server.log());
}

#[test]
fn a_reload_keeps_the_number_of_workers() {
    if differs(
        "A reload under cheaper keeps the current number of workers; uWSGI begins with cheaper-initial.",
    ) {
        return;
    }
    let server = server(&[("processes", "4"), ("cheaper", "1"), ("cheaper-step", "3")]);
    under_load(&server, 8, "/sleep?0.2", || {
        server.wait_for_workers(4);
        server.signal(Signal::SIGHUP);
        server.wait_for_log("reloaded: generation 2 serves, 4 workers");
    });
    server.wait_for_workers(1);
}

#[test]
fn the_backlog_algorithm_follows_the_listen_queue() {
    if differs(
        "cheaper-algo = backlog also reads the queue of Unix sockets; uWSGI reads that of TCP sockets only.",
    ) {
        return;
    }
    for address in ["app.sock".to_owned(), format!("127.0.0.1:{}", free_port())] {
        let server = server(&[
            ("socket", &address),
            ("processes", "3"),
            ("cheaper", "1"),
            ("cheaper-algo", "backlog"),
        ]);
        under_load(&server, 9, "/sleep?0.3", || {
            server.wait_for_workers(3);
        });
        server.wait_for_workers(1);
    }
}

#[test]
fn the_busyness_algorithm_follows_an_average() {
    let options = [
        ("processes", "3"),
        ("cheaper", "1"),
        ("cheaper-algo", "busyness"),
        ("cheaper-busyness-multiplier", "2"),
    ];
    let server = server(&options);
    under_load(&server, 6, "/sleep?0.2", || {
        server.wait_for_workers(3);
    });
    server.wait_for_workers(1);
}

#[test]
fn an_idle_instance_restarts_with_the_initial_number_of_workers() {
    let options = [
        ("processes", "4"),
        ("cheaper", "1"),
        ("cheaper-initial", "2"),
        ("idle", "1"),
    ];
    let server = server(&options);
    server.wait_for_workers(0);
    super::idle::wait_for_workers_under_requests(&server, 2);
}

#[test]
fn auto_means_one_worker_per_available_cpu() {
    if differs(
        "processes = auto and %k count the CPUs available to the instance, by affinity and cgroup quota; uWSGI's %k counts those of the machine.",
    ) {
        return;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status.split("Cpus_allowed_list:").nth(1).unwrap().trim();
    let first = list.split([',', '-', '\n']).next().unwrap();
    for count in ["auto", "%k"] {
        let server = Site::with("life")
            .server()
            .set("processes", count)
            .under(&["taskset", "-c", first])
            .start();
        server.wait_for_log("ready: 1 worker in");
    }
}

#[test]
fn contradictory_numbers_are_refused() {
    if differs(
        "Wrong cheaper options are reported with their place; in uWSGI busyness is a separate plugin.",
    ) {
        return;
    }
    for (options, part) in [
        (
            &[("cheaper", "2")][..],
            "cheaper = 2 must be less than processes = 2",
        ),
        (
            &[("cheaper", "1"), ("cheaper-initial", "3")],
            "cheaper-initial = 3 is not between",
        ),
        (
            &[("cheaper", "1"), ("cheaper-algo", "spare2")],
            "this algorithm is not supported",
        ),
    ] {
        let launch = Site::with("life").server().set("processes", 2);
        let refusal = launch.set_all(options).refused();
        assert_eq!(refusal.code, Some(1));
        assert!(refusal.log.contains(part), "{}", refusal.log);
    }
}
