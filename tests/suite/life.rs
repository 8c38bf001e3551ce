//! Life of workers: request deadlines, replacement, reports of deaths.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::kit::server::send;
use crate::kit::*;

fn server(threads: usize, options: &[(&str, &str)]) -> Server {
    let launch = Site::with("life").server().set("threads", threads);
    launch.set_all(options).start()
}

/// Skips the test under uWSGI: at its deadline the client sees a closed connection, and its clock has a resolution of
/// one second.
fn differs_from_uwsgi() -> bool {
    differs(
        "A request that exceeds harakiri gets 504, also with threads, and other requests of its worker continue; uWSGI kills the worker with all its requests.",
    )
}

/// A deadline interrupts any Python code on the main thread, and the worker goes on.
#[test]
fn a_request_over_its_deadline_gets_504_and_its_worker_continues() {
    if differs_from_uwsgi() {
        return;
    }
    let mut server = server(1, &[("harakiri", "3")]);
    let pid = server.get("/pid").expect(200).text();
    for path in ["/sleep", "/loop", "/regex", "/blocked"] {
        let begun = Instant::now();
        server.get(path).expect(504);
        assert!(begun.elapsed() < wait::PROMPTLY, "{path}");
        server.get("/pid").expect_text(&pid);
        server.expect_log(&format!("GET {path} from 127.0.0.1: aborted after"));
    }
    server.wait_for_log("in blocked");
}

#[test]
fn a_started_response_is_cut_off_at_its_deadline() {
    if differs_from_uwsgi() {
        return;
    }
    let mut server = server(1, &[("harakiri", "3")]);
    let answer = server.get("/stream");
    assert!(!answer.text().contains("ended"));
    server.expect_log("GET /stream from 127.0.0.1: aborted after");
    server.get("/").expect_text("hello");
}

#[test]
fn the_other_threads_of_a_stuck_worker_finish_their_requests() {
    if differs_from_uwsgi() {
        return;
    }
    // the other requests need one second of their six
    let mut server = server(4, &[("harakiri", "6")]);
    let first = server.wait_for_workers(1);
    let mut stuck = server.ask(&get("/sleep?600"));
    std::thread::scope(|scope| {
        let given_up = scope.spawn(move || stuck.answer().status);
        let mut others = Vec::new();
        let mut behind = 0;
        while behind < 3 {
            behind += usize::from(given_up.is_finished());
            others.push(server.ask(&get("/sleep?1")));
            // fewer requests at a time than threads, so that they do not wait for each other
            std::thread::sleep(Duration::from_millis(700));
        }
        assert_eq!(given_up.join().unwrap(), 504);
        for mut other in others {
            other.answer().expect_text("slept");
        }
    });
    server.expect_log("/sleep?600 => generated");
    let log = server.log();
    let line = server.log_lines("/sleep?600 => generated").remove(0);
    assert!(line.contains("(HTTP/1.1 504)"), "{log}");
    // a deadline interrupts the main thread; another thread ends only with its worker
    assert_eq!(
        line.contains("killed"),
        log.contains("does not return from"),
        "{log}"
    );
    assert_eq!(
        server.wait_for_workers(1) != first,
        line.contains("killed"),
        "{log}"
    );
}

#[test]
fn a_thread_that_holds_the_interpreter_lock_ends_its_worker() {
    if differs_from_uwsgi() {
        return;
    }
    let mut server = server(4, &[("harakiri", "3")]);
    let before = server.get("/pid").expect(200).text();
    // the application needs a thread other than the main one
    server.get("/regex").expect(504);
    server.expect_log("GET /regex from 127.0.0.1: aborted after");
    server.eventually("the worker serves again or is replaced", || {
        use std::io::{Read, Write};
        let mut connection = server.connect();
        connection.set_timeout(Duration::from_secs(5));
        let mut answer = Vec::new();
        connection.write_all(&get("/pid").bytes()).is_ok()
            && connection.read_to_end(&mut answer).is_ok()
            && answer.starts_with(b"HTTP/1.1 200")
    });
    server.wait_for_log("in regex");
    let stuck = "holds the interpreter (GIL); the worker accepts no more requests";
    if server.get("/pid").expect(200).text() != before {
        server.wait_for_log(stuck);
    } else {
        assert!(!server.log().contains(stuck));
    }
}

#[test]
fn each_cause_of_death_has_a_distinct_record() {
    if differs("One log line says how a worker died, after how long and in which requests.") {
        return;
    }
    let mut server = server(1, &[]);
    for (path, record) in [
        ("/segfault", "killed by signal 11 (SIGSEGV)"),
        ("/exit?3", "exited with status 3"),
        ("/abort", "killed by signal 6 (SIGABRT)"),
        (
            "/kill",
            "not by its master: another process sent the signal",
        ),
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 0, "{path}");
        server.expect_log(record);
        let lines = server.log_lines(record);
        assert!(
            lines
                .iter()
                .any(|line| line.contains(&format!("in flight: GET {path}"))),
            "{lines:?}"
        );
        server.get("/").expect_text("hello");
    }
}

#[test]
fn a_frozen_worker_with_a_deadline_is_replaced() {
    if differs_from_uwsgi() {
        return;
    }
    let mut server = server(1, &[("harakiri", "5")]);
    let worker = server.wait_for_workers(1)[0];
    let mut asked = server.ask(&get("/stream?600"));
    asked.until("begun");
    send(worker, Signal::SIGSTOP);
    server.expect_log("a request exceeded its deadline (harakiri)");
    assert!(!asked.rest().0.ends_with(b"ended\n"));
    server.get("/").expect_text("hello");
}

/// Sends requests until `count` workers have answered, and returns their ids. Every request must succeed.
fn ids_of_workers(server: &Server, path: &str, count: usize) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    server.eventually(&format!("{count} workers have answered"), || {
        server.get(path).expect(200);
        ids.insert(server.get("/pid").expect(200).text());
        ids.len() >= count
    });
    ids
}

#[test]
fn workers_are_replaced_after_max_requests_one_at_a_time() {
    let server = Site::with("life")
        .server()
        .set("processes", 2)
        .set("max-requests", 50)
        .set("min-worker-lifetime", 1)
        .start();
    server.wait_for_workers(2);
    let (ended, counted) = (AtomicBool::new(false), AtomicUsize::new(usize::MAX));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                // a scan of /proc is not atomic: it may miss a worker that exits and also its replacement
                let looks = [(); 3].map(|()| server.workers().len());
                counted.fetch_min(looks.into_iter().max().unwrap_or(0), Ordering::Relaxed);
            }
        });
        ids_of_workers(&server, "/", 4);
        ended.store(true, Ordering::Relaxed);
    });
    assert!(
        // a worker id has no process for some milliseconds
        under_uwsgi() || counted.load(Ordering::Relaxed) >= 1,
        "only {counted:?} workers were there"
    );
}

#[test]
fn a_worker_over_its_memory_limit_is_replaced_after_its_request() {
    if differs(
        "A worker that is about to reach reload-on-rss is replaced before; uWSGI replaces it after the request that reached it.",
    ) {
        return;
    }
    let server = server(1, &[("reload-on-rss", "80"), ("min-worker-lifetime", "1")]);
    let mut largest = 0;
    let mut pids = BTreeSet::new();
    server.eventually("three workers have run", || {
        server.get("/grow?1").expect(200);
        std::thread::sleep(Duration::from_millis(20));
        for pid in server.workers() {
            let size = proc::status(pid, "VmRSS");
            let kib: u64 = size.trim_end_matches(" kB").parse().unwrap_or(0);
            largest = largest.max(kib);
            pids.insert(pid);
        }
        pids.len() >= 3
    });
    assert!(largest <= 81 << 10, "{largest} KiB");
}

#[test]
fn a_worker_is_replaced_after_its_lifetime() {
    let server = server(
        1,
        &[("max-worker-lifetime", "2"), ("min-worker-lifetime", "1")],
    );
    let first = server.wait_for_workers(1);
    server.eventually("it is replaced", || {
        let now = server.workers();
        now.len() == 1 && now != first
    });
    server.get("/").expect_text("hello");
}

#[test]
fn a_worker_over_evil_reload_on_rss_is_killed() {
    let mut server = server(1, &[("evil-reload-on-rss", "90")]);
    server.get("/grow?100");
    if !under_uwsgi() {
        server.expect_log("by its master: it exceeded a memory limit");
    }
    server.eventually("it serves again", || server.get("/").status == 200);
}

#[test]
fn a_touched_file_reloads_the_application() {
    let site = Site::with("life");
    let option = if under_uwsgi() {
        "touch-reload"
    } else {
        "touch-chain-reload"
    };
    let server = site
        .server()
        .set("touch-reload", "again")
        .set(option, "too")
        .start();
    for name in ["again", "too"] {
        let first = server.wait_for_workers(1);
        server.site.write(name, "");
        server.eventually("another worker serves", || {
            let now = server.workers();
            server.get("/").expect_text("hello");
            now.len() == 1 && now != first
        });
    }
}
