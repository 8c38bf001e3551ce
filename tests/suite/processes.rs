//! Processes: workers and threads, and their deaths.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::kit::server::send;
use crate::kit::*;

/// A server with `processes` workers and `threads` threads each.
fn server(processes: usize, threads: usize) -> Server {
    let launch = Site::with("processes").server().set("processes", processes);
    let server = launch
        .set("threads", threads)
        .set("enable-threads", "true")
        .start();
    server.wait_for_workers(processes);
    server
}

/// Requests that the application holds until they are released.
struct Held {
    site: Site,
    connections: Vec<Connection>,
}

impl Held {
    /// Sends `count` requests at once and waits until the application has all of them.
    #[track_caller]
    fn all(server: &Server, count: usize) -> Self {
        let site = server.site.clone();
        let connections = (0..count).map(|_| server.ask(&get("/hold?gate"))).collect();
        server.eventually(&format!("{count} requests are held"), || {
            site.read("held").lines().count() == count
        });
        Self { site, connections }
    }

    /// Process ids of the workers that hold the requests.
    fn pids(&self) -> BTreeSet<i32> {
        self.site
            .read("held")
            .lines()
            .map(|line| line.split_once(' ').unwrap().1.parse().unwrap())
            .collect()
    }

    fn release(&self) {
        self.site.write("gate", "");
    }

    /// Releases the requests; each must succeed.
    #[track_caller]
    fn expect_success(self) {
        self.release();
        for mut connection in self.connections {
            connection.answer().expect_text("held by generation 1");
        }
    }
}

#[test]
fn workers_serve_concurrently() {
    for option in ["processes", "workers"] {
        let server = Site::with("processes").server().set(option, 3).start();
        let workers: BTreeSet<i32> = server.wait_for_workers(3).into_iter().collect();
        let held = Held::all(&server, 3);
        assert_eq!(held.pids(), workers);
        held.expect_success();
    }
}

#[test]
fn threads_serve_concurrently() {
    let server = server(1, 4);
    let held = Held::all(&server, 4);
    assert_eq!(held.pids().len(), 1);
    held.expect_success();
}

#[test]
fn threads_of_several_workers_serve_concurrently() {
    let server = server(2, 3);
    let held = Held::all(&server, 6);
    assert_eq!(held.pids().len(), 2);
    held.expect_success();
}

#[test]
fn workers_are_children_of_the_master() {
    let server = server(2, 1);
    server
        .get("/parent")
        .expect_text(&server.master.to_string());
}

#[test]
fn workers_draw_different_random_numbers() {
    if differs(
        "Python's random generator is seeded anew in each worker; uWSGI's workers share the generator's state.",
    ) {
        return;
    }
    let server = server(4, 1);
    let mut drawn = BTreeMap::new();
    server.eventually("every worker has drawn", || {
        let mut connections: Vec<_> = (0..8).map(|_| server.ask(&get("/random"))).collect();
        for connection in &mut connections {
            let answer = connection.answer().expect(200).text();
            let (pid, number) = answer.split_once(' ').unwrap();
            drawn.entry(pid.to_owned()).or_insert(number.to_owned());
        }
        drawn.len() == 4
    });
    let numbers: BTreeSet<_> = drawn.values().collect();
    assert_eq!(numbers.len(), 4, "{drawn:?}");
}

#[test]
fn thread_locals_survive_from_request_to_request() {
    let server = server(1, 1);
    for n in 1..10 {
        server.get("/kept").expect_text(&n.to_string());
    }
    let threaded = self::server(1, 2);
    let mut last = 0;
    threaded.eventually("a thread's count grows", || {
        last = threaded.get("/kept").expect(200).text().parse().unwrap();
        last == 10
    });
}

#[test]
fn with_one_thread_the_application_runs_on_the_main_thread() {
    server(1, 1).get("/signal").expect_text("True");
}

#[test]
fn signals_are_not_blocked_in_the_application() {
    if differs(
        "The application runs with no signal blocked, so that its child processes can be stopped; uWSGI's threads block some signals.",
    ) {
        return;
    }
    server(1, 1).get("/sigmask").expect_text("[]");
}

#[test]
fn the_application_can_wait_for_its_children() {
    let server = server(1, 1);
    for _ in 0..3 {
        server.get("/child").expect_text("from a child\n");
        server.get("/fork").expect_text("7");
    }
    let worker = server.workers()[0];
    assert!(proc::children(worker).is_empty(), "no zombie is left");
}

#[test]
fn a_worker_that_is_killed_is_replaced() {
    let server = server(2, 1);
    for signal in [Signal::SIGKILL, Signal::SIGSEGV, Signal::SIGABRT] {
        let before = server.wait_for_workers(2);
        send(before[0], signal);
        server.eventually("another worker serves", || {
            let now = server.workers();
            now.len() == 2 && !now.contains(&before[0]) && now.contains(&before[1])
        });
        server.get("/pid").expect(200);
    }
    server.wait_for_log("worker");
    // the log may have reports of faulthandler
    server.eventually("no zombie is left", || {
        let children = proc::children(server.master);
        children.iter().all(|p| p.state != 'Z')
    });
}

#[test]
fn a_killed_worker_loses_only_its_own_requests() {
    let server = server(2, 1);
    let held = Held::all(&server, 2);
    let victim = *held.pids().first().unwrap();
    send(victim, Signal::SIGKILL);
    server.get("/pid").expect(200);
    held.release();
    let answers: Vec<_> = held
        .connections
        .into_iter()
        .map(|mut c| c.rest().0.is_empty())
        .collect();
    assert_eq!(answers.iter().filter(|&&empty| empty).count(), 1);
}

#[test]
fn a_replacement_worker_does_not_load_the_application_again() {
    let site = Site::with("generation");
    let server = site.server().start();
    let before = server.get("/").text();
    let worker = server.wait_for_workers(1)[0];
    send(worker, Signal::SIGKILL);
    server.eventually("another worker serves", || {
        !server.workers().contains(&worker) && server.workers().len() == 1
    });
    server.get("/").expect_text(&before);
}

#[test]
fn descriptors_do_not_leak_over_many_deaths() {
    let server = server(2, 1);
    server.wait_until_complete();
    let before = proc::descriptors(server.master);
    for _ in 0..10 {
        let workers = server.wait_for_workers(2);
        send(workers[0], Signal::SIGKILL);
        server.eventually("it is replaced", || {
            server.workers().len() == 2 && !server.workers().contains(&workers[0])
        });
    }
    server.eventually("as many descriptors are open as before", || {
        proc::descriptors(server.master) == before
    });
}

#[test]
fn a_zygote_that_is_killed_is_replaced() {
    if under_uwsgi() {
        return; // uWSGI has no zygote
    }
    let server = server(2, 1);
    let before = server.wait_for_workers(2);
    let zygotes = server.zygotes();
    assert_eq!(zygotes.len(), 1);
    send(zygotes[0], Signal::SIGKILL);
    server.get("/pid").expect(200);
    server.eventually("there is another zygote", || {
        server.zygotes().len() == 1 && server.zygotes() != zygotes
    });
    server.eventually("and it can fork", || {
        let workers = server.workers();
        let Some(worker) = workers.iter().find(|pid| before.contains(pid)) else {
            return workers.len() == 2;
        };
        send(*worker, Signal::SIGKILL);
        false
    });
    server.get("/pid").expect(200);
}

#[test]
fn all_processes_end_when_the_master_is_killed() {
    let mut server = server(3, 2);
    server.kill_master();
    server.eventually("no process is left", || server.processes().is_empty());
}

#[test]
fn requests_in_flight_finish_when_the_master_is_killed() {
    let mut server = server(2, 1);
    let held = Held::all(&server, 2);
    server.kill_master();
    held.expect_success();
    server.eventually("no process is left", || server.processes().is_empty());
}

#[test]
fn a_worker_that_dies_at_every_start_is_retried_with_a_delay() {
    if differs(
        "A worker that keeps exiting at its start is restarted with a growing delay; uWSGI sometimes waits two seconds.",
    ) {
        return;
    }
    let site = Site::of(
        "import os\n\
         open('starts', 'a').write('x')\n\
         if os.path.exists('broken'):\n    \
             os._exit(9)\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             return [b'%d' % os.getpid()]\n",
    );
    let mut server = site.server().set("lazy-apps", "true").start();
    let worker = server.wait_for_workers(1)[0];
    site.write("broken", "");
    let starts = site.read("starts").len();
    send(worker, Signal::SIGKILL);
    server.eventually("the start was retried", || {
        site.read("starts").len() >= starts + 3
    });
    // without a delay there would be hundreds of starts by now
    assert!(
        site.read("starts").len() < starts + 30,
        "{} starts",
        site.read("starts").len()
    );
    assert!(server.exited().is_none(), "the master is there");
    std::fs::remove_file(site.file("broken")).unwrap();
    server.get("/").expect(200);
    server.expect_log("");
}

#[test]
fn a_worker_with_a_stop_signal_finishes_its_request() {
    if differs(
        "A worker that gets SIGTERM finishes its requests and is replaced; uWSGI's worker drops them.",
    ) {
        return;
    }
    let server = server(1, 1);
    let held = Held::all(&server, 1);
    let worker = *held.pids().first().unwrap();
    send(worker, Signal::SIGTERM);
    held.expect_success();
    server.eventually("another worker serves", || {
        server.workers().len() == 1 && !server.workers().contains(&worker)
    });
    server.get("/pid").expect(200);
}

#[test]
fn processes_have_descriptive_names() {
    let server = Site::with("processes")
        .server()
        .set("auto-procname", "true")
        .set("processes", 2)
        .start();
    server.wait_for_workers(2);
    let title =
        |pid: i32| proc::command_line(pid) + &proc::process(pid).map_or(String::new(), |p| p.name);
    server.eventually("the processes have their names", || {
        title(server.master).contains("master")
            && server
                .workers()
                .iter()
                .all(|&pid| title(pid).contains("worker"))
    });
}

#[test]
fn killed_processes_under_load_lose_only_their_own_requests() {
    let server = server(3, 1);
    let lost = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    // the death of a worker breaks the connection during the request or before the response
                    let ask = |_| {
                        let mut connection = server.connect();
                        let sent = connection.write_all(&get("/pid").bytes());
                        usize::from(sent.is_err() || connection.rest().0.is_empty())
                    };
                    (0..300).map(ask).sum::<usize>()
                })
            })
            .collect();
        for _ in 0..5 {
            let workers = server.wait_for_workers(3);
            send(workers[1], Signal::SIGKILL);
            server.eventually("it is replaced", || !server.workers().contains(&workers[1]));
        }
        asking
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum::<usize>()
    });
    assert!(lost <= 5, "{lost} requests were lost by 5 deaths");
    server.wait_for_workers(3);
}

#[test]
fn an_idle_server_uses_no_cpu_time() {
    let server = server(2, 2);
    server.get("/pid").expect(200);
    let ticks = |pid: i32| -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map_or(Vec::new(), |(_, tail)| tail.split_whitespace().collect());
        [11, 12]
            .iter()
            .filter_map(|&n| fields.get(n)?.parse::<u64>().ok())
            .sum()
    };
    let all = || server.processes().iter().map(|p| ticks(p.pid)).sum::<u64>();
    // the only test that waits for a fixed time: after the start, nothing may use CPU time during it
    server.eventually("next to no CPU time is used in 1.5 s", || {
        let before = all();
        std::thread::sleep(Duration::from_millis(1500));
        all().saturating_sub(before) <= 10
    });
}
