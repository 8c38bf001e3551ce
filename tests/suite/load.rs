//! Under load: deaths and reloads while requests arrive. `KIT_BIG=1` runs the tests at full length.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::kit::load::scaled;
use crate::kit::server::send;
use crate::kit::{self, *};

/// Load of three clients; returns the numbers of successful and of lost requests.
fn load(server: &Server, meanwhile: impl FnOnce(&AtomicUsize)) -> (usize, usize) {
    load_on_path(server, "/pid", meanwhile)
}

/// The same load with requests for `path`.
fn load_on_path(
    server: &Server,
    path: &str,
    meanwhile: impl FnOnce(&AtomicUsize),
) -> (usize, usize) {
    let outcome = kit::load::load(server, 3, path, meanwhile);
    (outcome.answered, outcome.lost)
}

fn succeeds(server: &Server, path: &str) -> bool {
    kit::load::succeeds(server, path)
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
fn reloads_under_load_lose_no_request() {
    if differs("A reload under load loses no request; uWSGI sometimes loses one.") {
        return;
    }
    let server = server(2);
    let reloads = scaled(4, 10);
    let requests = scaled(3000, 100_000);
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
fn killed_workers_lose_at_most_their_own_request() {
    let server = server(2);
    let deaths = scaled(5, 20);
    server.wait_until_complete();
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
                under_uwsgi() || begun.elapsed() < wait::PROMPTLY,
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
fn killed_zygotes_lose_no_request() {
    if under_uwsgi() {
        return; // uWSGI has no zygote
    }
    let server = server(2);
    let site = server.site.clone();
    let loads = || site.read("loads").len();
    let (answered, lost) = load(&server, |_| {
        for _ in 0..scaled(3, 20) {
            let (zygotes, before) = (server.zygotes(), loads());
            assert_eq!(zygotes.len(), 1);
            send(zygotes[0], Signal::SIGKILL);
            // a zygote killed before it has loaded the application is retried with a growing delay
            server.eventually("there is another zygote", || {
                server.zygotes().len() == 1 && server.zygotes() != zygotes && loads() > before
            });
            server.wait_for_workers(2);
        }
    });
    assert!(answered > 0);
    assert_eq!(lost, 0, "of {answered}");
}

#[test]
fn killed_masters_leave_no_process() {
    for _ in 0..scaled(3, 20) {
        let mut server = server(2);
        server.allow_socket_file();
        server.allow_any_exit();
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
fn a_stop_under_load_finishes_requests_in_flight() {
    if under_uwsgi() {
        return; // uWSGI drops requests
    }
    let mut server = server(2);
    // after the stop no process listens: new requests are refused, and no response is cut off
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
        server.eventually("requests are answered", || succeeds(&server, "/pid"));
        server.signal(Signal::SIGTERM);
    });
    assert!(server.wait_for_exit().unwrap().success());
    assert_eq!(cut.into_inner(), 0);
}

#[test]
fn replaced_workers_lose_no_request_and_at_most_one_is_missing() {
    if differs(
        "The replacement of a worker that reached max-requests is forked before that worker exits, and starts within milliseconds; uWSGI's worker is missing for longer.",
    ) {
        return;
    }
    let requests = scaled(4000, 500_000);
    let server = Site::with("processes")
        .server()
        .set("processes", 4)
        .set("max-requests", scaled(200, 5000))
        .set("min-worker-lifetime", 1)
        .set("disable-logging", true)
        .start();
    server.wait_for_workers(4);
    let (mut least, mut replaced) = (usize::MAX, 0);
    let (answered, lost) = load(&server, |answered| {
        let begun = Instant::now();
        let replacements = scaled(2, 20);
        while (answered.load(Ordering::Relaxed) < requests || replaced < replacements)
            && begun.elapsed() < Duration::from_secs(900)
        {
            // a scan of /proc is not atomic: it may miss a worker that exits and also its replacement
            let looks = [(); 3].map(|()| server.workers().len());
            least = least.min(looks.into_iter().max().unwrap_or(0));
            replaced = server.log_lines("(max-requests = ").len();
        }
    });
    eprintln!("{answered} requests, {replaced} workers replaced, never fewer than {least}");
    assert_eq!(lost, 0, "of {answered}");
    assert!(
        answered >= requests && replaced > 0,
        "{answered}, {replaced}"
    );
    // a worker id has no process for some milliseconds
    assert!(least >= 3, "only {least} workers were there");
}

#[test]
fn a_fast_leak_stays_below_its_limit_and_loses_no_request() {
    if differs(
        "A worker that reached reload-on-rss takes no further request, however fast it grows.",
    ) {
        return;
    }
    const LIMIT: u64 = 100;
    let requests = scaled(600, 20_000);
    let server = Site::with("life")
        .server()
        .set("processes", 2)
        .set("reload-on-rss", LIMIT)
        .set("min-worker-lifetime", 0)
        .set("disable-logging", true)
        .start();
    server.wait_for_workers(2);
    let mut largest = 0;
    let (answered, lost) = load_on_path(&server, "/grow?1", |answered| {
        let begun = Instant::now();
        while answered.load(Ordering::Relaxed) < requests
            && begun.elapsed() < Duration::from_secs(600)
        {
            for pid in server.workers() {
                let size = proc::status(pid, "VmHWM");
                let kib: u64 = size.trim_end_matches(" kB").parse().unwrap_or(0);
                largest = largest.max(kib);
            }
        }
    });
    let replaced = server.log_lines("(reload-on-rss = ").len();
    eprintln!("{answered} requests, {replaced} workers replaced, {largest} KiB at most");
    assert_eq!(lost, 0, "of {answered}");
    assert!(
        answered >= requests && replaced > 2,
        "{answered}, {replaced}"
    );
    // the limit, the memory of one request, and the delay of the kernel's count
    assert!(largest <= (LIMIT + 3) << 10, "{largest} KiB");
}

/// Sends requests of one second each beside a stuck request for `path`. Returns status and duration of the stuck one,
/// and the numbers of good and bad responses.
fn requests_beside_a_stuck_one(server: &Server, path: &str) -> (u16, Duration, usize, usize) {
    let begun = Instant::now();
    let mut stuck = server.ask(&get(path));
    let (mut good, mut bad) = (0, 0);
    let mut took = Duration::ZERO;
    let status = std::thread::scope(|scope| {
        let answer = scope.spawn(|| (stuck.answer().status, begun.elapsed()));
        // fewer requests at a time than threads, so that they do not wait for each other
        let others: Vec<_> = (0..8)
            .map(|_| {
                std::thread::sleep(Duration::from_millis(600));
                scope.spawn(|| succeeds(server, "/sleep?1"))
            })
            .collect();
        for other in others {
            match other.join().unwrap() {
                true => good += 1,
                false => bad += 1,
            }
        }
        let status;
        (status, took) = answer.join().unwrap();
        status
    });
    (status, took, good, bad)
}

#[test]
fn a_stuck_request_affects_no_other_request() {
    if differs(
        "A request that exceeds its deadline affects no other request of its worker, unless native code holds the interpreter lock.",
    ) {
        return;
    }
    for _ in 0..scaled(1, 10) {
        for path in ["/sleep?30", "/hog?30"] {
            let mut server = Site::with("life")
                .server()
                .set("threads", 4)
                .set("harakiri", 3)
                .start();
            let (status, took, good, bad) = requests_beside_a_stuck_one(&server, path);
            eprintln!(
                "{path}: {status} after {took:?}, {good} other requests succeeded, {bad} failed"
            );
            if path == "/sleep?30" {
                assert_eq!((status, bad), (504, 0), "{}", server.log());
                assert!(took < wait::PROMPTLY, "{took:?}");
            }
            server.expect_log("");
            // the log names every request that was not finished
            let named = server.log_lines(": aborted after").len();
            let lost = bad + usize::from(status != 200);
            assert!(
                named >= lost,
                "{lost} lost, {named} named: {}",
                server.log()
            );
        }
    }
}
