//! Under load: deaths and reloads while requests come in. `KIT_BIG=1` runs them at full length.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::kit::load::times;
use crate::kit::server::send;
use crate::kit::{self, *};

/// Three clients; gives how many requests were answered, and how many were not.
fn load(server: &Server, meanwhile: impl FnOnce(&AtomicUsize)) -> (usize, usize) {
    let outcome = kit::load::load(server, 3, "/pid", meanwhile);
    (outcome.answered, outcome.lost)
}

fn asked(server: &Server) -> bool {
    kit::load::asked(server, "/pid")
}

fn server(processes: usize) -> Server {
    let launch = Site::with("processes")
        .server()
        .set("processes", processes)
        .set("disable-logging", "true");
    let server = launch.start();
    server.wait_for_workers(processes);
    server
}

#[test]
fn reloads_lose_no_request_of_many() {
    if differs("A reload under load loses no request; uWSGI loses one now and then.") {
        return;
    }
    let server = server(2);
    let reloads = times(4, 10);
    let requests = times(3000, 100_000);
    let (answered, lost) = load(&server, |answered| {
        for n in 0..reloads {
            let before = server.workers();
            server.signal(Signal::SIGHUP);
            server.eventually("the old generation is gone", || {
                server.workers().len() == 2
                    && before.iter().all(|pid| !server.workers().contains(pid))
            });
            let share = requests * (n + 1) / reloads;
            let begun = Instant::now();
            while answered.load(Ordering::Relaxed) < share
                && begun.elapsed() < Duration::from_secs(300)
            {
                std::thread::yield_now();
            }
        }
    });
    assert_eq!(lost, 0, "of {answered}");
    assert!(answered >= requests, "{answered}");
}

#[test]
fn workers_that_are_killed_cost_at_most_their_own_request() {
    let server = server(2);
    let deaths = times(5, 20);
    let descriptors = proc::descriptors(server.master);
    let (answered, lost) = load(&server, |_| {
        for n in 0..deaths {
            let workers = server.wait_for_workers(2);
            send(workers[n % 2], Signal::SIGKILL);
            let begun = Instant::now();
            server.eventually("it is replaced", || {
                server.workers().len() == 2 && server.workers() != workers
            });
            assert!(
                under_uwsgi() || begun.elapsed() < Duration::from_secs(5),
                "{:?}",
                begun.elapsed()
            );
        }
    });
    assert!(
        answered > 0 && lost <= deaths,
        "{lost} lost, {answered} answered"
    );
    server.eventually("as many descriptors are open as before", || {
        proc::descriptors(server.master) <= descriptors
    });
}

#[test]
fn zygotes_that_are_killed_cost_no_request() {
    if under_uwsgi() {
        return; // it has none
    }
    let server = server(2);
    let site = server.site.clone();
    let loads = || site.read("loads").len();
    let (answered, lost) = load(&server, |_| {
        for _ in 0..times(3, 20) {
            let (zygotes, before) = (server.zygotes(), loads());
            assert_eq!(zygotes.len(), 1);
            send(zygotes[0], Signal::SIGKILL);
            // one that is killed before it has loaded the application is retried with a growing pause
            server.eventually("there is another", || {
                server.zygotes().len() == 1 && server.zygotes() != zygotes && loads() > before
            });
            server.wait_for_workers(2);
        }
    });
    assert!(answered > 0);
    assert_eq!(lost, 0, "of {answered}");
}

#[test]
fn masters_that_are_killed_leave_nothing() {
    for _ in 0..times(3, 20) {
        let mut server = server(2);
        server.leaves_its_socket();
        server.ends_otherwise();
        load(&server, |answered| {
            server.eventually("requests are answered", || {
                answered.load(Ordering::Relaxed) > 20
            });
            server.signal(Signal::SIGKILL);
            server.eventually("no process is left", || {
                server
                    .processes()
                    .iter()
                    .all(|process| process.pid == server.master)
            });
        });
        server.wait_for_exit();
    }
}

#[test]
fn a_stop_under_load_finishes_what_was_begun() {
    if under_uwsgi() {
        return; // it drops requests
    }
    let mut server = server(2);
    // after the stop nobody listens: those requests are refused, none is cut
    let cut = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                use std::io::{Read, Write};
                while let Ok(mut connection) = server.address().try_connect() {
                    if connection.write_all(&get("/pid").bytes()).is_err() {
                        continue;
                    }
                    let mut answer = Vec::new();
                    let _ = connection.read_to_end(&mut answer);
                    let whole = answer.is_empty() || answer.windows(4).any(|w| w == b"\r\n\r\n");
                    cut.fetch_add(usize::from(!whole), Ordering::Relaxed);
                }
            });
        }
        server.eventually("requests are answered", || asked(&server));
        server.signal(Signal::SIGTERM);
    });
    assert!(server.wait_for_exit().unwrap().success());
    assert_eq!(cut.into_inner(), 0);
}
