//! The signals of the module uwsgi: handlers, targets, timers, cron entries and watched files.

use nix::sys::signal::Signal;

use crate::kit::*;

/// Registers signal 5 for any worker, 6 for all, 7 for worker 2. Each handler appends a line to the file `handled`: the
/// signal and the worker. `/raise/N` raises signal N; `/hold` waits for the file `gate`.
const APP: &str = "\
import os, time
import uwsgi

def handle(signal):
    with open('handled', 'a') as handled:
        handled.write('%d %d %.3f\\n' % (signal, uwsgi.worker_id(), time.time()))

uwsgi.register_signal(5, 'worker', handle)
uwsgi.register_signal(6, 'workers', handle)
uwsgi.register_signal(7, 'worker2', handle)

def application(environ, start_response):
    words = environ['PATH_INFO'].split('/')
    if words[1] == 'raise':
        for _ in range(int(words[3])):
            uwsgi.signal(int(words[2]))
    if words[1] == 'hold':
        open('held', 'w').close()
        while not os.path.exists('gate'):
            time.sleep(0.005)
    start_response('200 OK', [])
    return [b'%d' % uwsgi.worker_id()]
";

/// An application that calls `setup` at import, with the handler `handle` of [`APP`].
fn site_with(setup: &str) -> Site {
    Site::of(&format!("{APP}\n{setup}\n"))
}

/// The handled signals, each as `signal worker`.
fn handled(site: &Site) -> Vec<String> {
    let lines = site.read("handled");
    let line = |line: &str| line.rsplit_once(' ').unwrap().0.to_owned();
    lines.lines().map(line).collect()
}

fn count(site: &Site, signal: u8) -> usize {
    let prefix = format!("{signal} ");
    let lines = handled(site);
    lines
        .iter()
        .filter(|line| line.starts_with(&prefix))
        .count()
}

/// The times at which a signal was handled, in seconds.
fn times(site: &Site, signal: u8) -> Vec<f64> {
    let prefix = format!("{signal} ");
    let lines = site.read("handled");
    lines
        .lines()
        .filter(|line| line.starts_with(&prefix))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
        .collect()
}

/// Checks that a timer of one second has not ticked more often than the time allows. A single tick may be late.
fn assert_one_tick_a_second(times: &[f64]) {
    let elapsed = times[times.len() - 1] - times[0];
    let ticks = (times.len() - 1) as f64;
    assert!(ticks < elapsed + 1.0, "{times:?}");
}

#[test]
fn a_raised_signal_is_handled_by_its_targets() {
    let site = site_with("");
    let server = site.server().set("processes", 3).start();
    server.get("/raise/5/1");
    server.get("/raise/6/1");
    server.get("/raise/7/1");
    server.eventually("all targets have run the handler", || {
        handled(&site).len() >= 5
    });
    let mut lines = handled(&site);
    lines.retain(|line| !line.starts_with("5 "));
    lines.sort();
    assert_eq!(lines, ["6 1", "6 2", "6 3", "7 2"]);
    assert_eq!(count(&site, 5), 1);
}

#[test]
fn each_call_of_signal_runs_the_handler_once() {
    let site = site_with("");
    let server = site.server().set("processes", 2).start();
    server.get("/raise/5/50");
    server.eventually("all are handled", || count(&site, 5) >= 50);
    server.get("/");
    assert_eq!(count(&site, 5), 50);
}

#[test]
fn signals_are_handled_between_requests_of_each_kind_of_listener() {
    // with an HTTP socket beside the uwsgi socket, or with several threads, a worker waits for both in an epoll
    for (has_http, threads) in [(false, 1), (false, 3), (true, 1), (true, 2)] {
        let site = site_with("");
        let mut launch = site.server().set("threads", threads);
        if has_http {
            let address = format!("127.0.0.1:{}", free_port());
            launch = launch.set("socket", "app.sock").set("http-socket", address);
        }
        let server = launch.start();
        server.get("/raise/5/3");
        server.eventually("the handler has run", || count(&site, 5) == 3);
    }
}

#[test]
fn a_timer_calls_its_handler_at_intervals() {
    let site = site_with("uwsgi.add_timer(5, 1); uwsgi.add_rb_timer(6, 1, 1)");
    let server = site.server().start();
    server.eventually("the timer has fired", || count(&site, 5) >= 3);
    assert_one_tick_a_second(&times(&site, 5));
    assert_eq!(count(&site, 6), 1, "a timer with one iteration fires once");
}

#[test]
fn the_timer_of_a_busy_worker_is_late_and_its_ticks_are_skipped() {
    if differs(
        "A tick of a timer, a cron entry or a file is skipped while the handler of the previous one still runs or waits; \
         the log and `ruwsgi status` count the skipped ones. uWSGI queues them.",
    ) {
        return;
    }
    let site = site_with("uwsgi.add_timer(5, 1)");
    let server = site.server().start();
    let mut held = server.ask(&get("/hold"));
    server.eventually("the request has begun", || site.has("held"));
    server.wait_for_log("signal 5: skipped");
    let before = count(&site, 5);
    site.write("gate", "");
    assert_eq!(held.answer().text(), "1");
    server.eventually("the late tick is handled", || count(&site, 5) > before);
    assert!(server.log_lines("signal 5: skipped")[0].contains("(1 skipped so far)"));
}

#[test]
fn a_timer_does_not_tick_twice_over_reloads() {
    if differs("A timer keeps its rhythm over a reload. In uWSGI it starts anew.") {
        return;
    }
    let site = site_with("uwsgi.add_timer(5, 1)");
    let server = site.server().set("processes", 2).start();
    for reload in 1..=4 {
        server.signal(Signal::SIGHUP);
        server.wait_for_lines("reloaded: ", reload);
    }
    server.eventually("the timer has fired", || count(&site, 5) >= 4);
    assert_one_tick_a_second(&times(&site, 5));
}

#[test]
fn a_timer_that_every_worker_adds_ticks_once() {
    if differs(
        "With lazy-apps each worker registers its signals and adds its timers; timers with the same signal and interval \
         are one. In uWSGI each of them fires, and only the worker that has registered the signal last can handle it.",
    ) {
        return;
    }
    let site = site_with("uwsgi.add_timer(5, 1); uwsgi.add_timer(6, 1)");
    let launch = site.server().set("processes", 2);
    let server = launch.set("lazy-apps", "true").start();
    server.eventually("the timer has fired", || count(&site, 5) >= 2);
    let times = times(&site, 5);
    assert!(times[1] - times[0] > 0.6, "{times:?}");
    let lines = handled(&site);
    assert!(lines.contains(&"6 1".to_owned()) && lines.contains(&"6 2".to_owned()));
}

#[test]
fn a_cron_entry_of_the_application_runs_in_the_minute_of_the_start() {
    let site =
        site_with("uwsgi.add_cron(5, -1, -1, -1, -1, -1); uwsgi.add_cron(6, -1, -1, -1, 0, -1)");
    let server = site.server().start();
    server.eventually("the handler has run", || count(&site, 5) >= 1);
    assert_eq!(count(&site, 6), 0, "there is no month 0");
}

#[test]
fn the_change_of_a_file_raises_a_signal() {
    let site = site_with("uwsgi.add_file_monitor(5, 'watched')");
    site.write("watched", "1");
    let server = site.server().start();
    // uWSGI watches the file a moment after the workers have started
    server.eventually("the change is seen", || {
        site.write("watched", "2");
        count(&site, 5) >= 1
    });
}

#[test]
fn options_raise_signals() {
    let site = site_with("");
    for file in ["touched", "watched"] {
        site.write(file, "1");
    }
    let server = site.server().set("processes", 2);
    let server = server.set("timer", "7 1");
    let server = server.set("touch-signal", format!("{} 6", site.at("touched")));
    let server = server
        .set("fs-signal", format!("{} 5", site.at("watched")))
        .start();
    server.eventually("the timer has fired", || count(&site, 7) >= 1);
    server.eventually("the changes are seen", || {
        site.write("watched", "12");
        site.write("touched", "12");
        count(&site, 5) >= 1 && count(&site, 6) >= 1
    });
}

#[test]
fn a_signal_has_one_handler() {
    let site = Site::of(
        "import uwsgi\n\
         handle = lambda signal: None\n\
         found = [uwsgi.signal_registered(9), uwsgi.register_signal(9, '', handle), uwsgi.signal_registered(9)]\n\
         try:\n    \
             uwsgi.register_signal(9, '', handle)\n\
         except ValueError as error:\n    \
             found.append('refused')\n\
         found += [uwsgi.add_timer(9, 60), uwsgi.add_rb_timer(9, 60, 2), uwsgi.add_cron(9, 0, 0, 1, 1, -1), uwsgi.signal_received()]\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             return [repr(found + [uwsgi.signal(9)]).encode()]\n",
    );
    let server = site.server().start();
    server
        .get("/")
        .expect_text("[None, None, True, 'refused', None, None, True, 0, None]");
}

#[test]
fn a_request_waits_for_a_signal() {
    let site = site_with(
        "def wait(environ, start_response, serve=application):\n    \
             if environ['PATH_INFO'] == '/wait':\n        \
                 open('waits', 'w').close()\n        \
                 found = [uwsgi.signal_wait(6), uwsgi.signal_received()]\n        \
                 start_response('200 OK', [])\n        \
                 return [repr(found).encode()]\n    \
             return serve(environ, start_response)\n\
         application = wait",
    );
    let server = site.server().set("processes", 2).start();
    let mut waiting = server.ask(&get("/wait"));
    server.eventually("the request waits", || site.has("waits"));
    server.get("/raise/6/1");
    assert_eq!(waiting.answer().text(), "[b'', 6]");
}

#[test]
fn a_handler_that_fails_costs_nothing_else() {
    let site = Site::of(
        "import uwsgi\n\
         def fail(signal):\n    \
             raise KeyError('broken handler')\n\
         uwsgi.register_signal(5, '', fail)\n\
         def application(environ, start_response):\n    \
             uwsgi.signal(5)\n    \
             start_response('200 OK', [])\n    \
             return [b'ok']\n",
    );
    let mut server = site.server().start();
    server.expect_log("");
    server.get("/").expect_text("ok");
    server.wait_for_log("KeyError: 'broken handler'");
    server.get("/").expect_text("ok");
    if !under_uwsgi() {
        server.wait_for_log("exception in the handler of signal 5");
    }
}

#[test]
fn harakiri_ends_a_handler() {
    if differs("A handler of a signal that exceeds harakiri gets the exception uwsgi.Harakiri.") {
        return;
    }
    let site = Site::of(
        "import time, uwsgi\n\
         def hang(signal):\n    \
             time.sleep(1000)\n\
         uwsgi.register_signal(5, '', hang)\n\
         def application(environ, start_response):\n    \
             uwsgi.signal(5)\n    \
             start_response('200 OK', [])\n    \
             return [b'ok']\n",
    );
    let mut server = site.server().set("harakiri", 1).start();
    server.expect_log("");
    server.get("/").expect_text("ok");
    server.wait_for_log("the handler of signal 5: aborted after 1.");
    server.wait_for_log("exception in the handler of signal 5");
    assert_eq!(server.wait_for_workers(1).len(), 1);
}

#[test]
fn the_decorators_register_functions_for_signals() {
    if under_uwsgi() {
        return; // uWSGI's wheel does not contain uwsgidecorators
    }
    let site = site_with(
        "from uwsgidecorators import *\n\
         assert get_free_signal() == 0\n\
         @timer(1)\n\
         def one(signal): handle(signal)\n\
         @rbtimer(1, target='workers')\n\
         def two(signal): handle(signal)\n\
         @cron(-1, -1, -1, -1, -1)\n\
         def three(signal): handle(signal)\n\
         @filemon('watched')\n\
         def four(signal): handle(signal)\n\
         @signal(99, target='worker1')\n\
         def five(signal): handle(signal)\n\
         @timer(1, signum=77)\n\
         def six(signal): handle(signal)",
    );
    site.write("watched", "1");
    let server = site.server().set("processes", 2).start();
    server.get("/raise/99/1");
    server.eventually("all have run", || {
        site.write("watched", "2");
        [0, 1, 2, 3, 77, 99]
            .iter()
            .all(|signal| count(&site, *signal) >= 1)
    });
}

#[test]
fn the_status_counts_signals() {
    if differs("`ruwsgi status` shows how many signals each worker has handled.") {
        return;
    }
    let site = site_with("");
    let server = site.server().start();
    server.get("/raise/5/3");
    server.eventually("the handler has run", || count(&site, 5) == 3);
    server.eventually("the status counts them", || {
        let output = server.command(&["status", "site", "--json"]).stdout;
        let rows: serde_json::Value = serde_json::from_slice(&output).unwrap();
        rows[0]["instance"]["generations"][0]["workers"][0]["signals"] == 3
    });
}
