//! Stopping and reloading: requests in flight and new code.

use std::time::Instant;

use nix::sys::signal::Signal;

use crate::kit::*;

/// A server, and a request that its application holds.
fn server_with_request(launch: Launch) -> (Server, Connection) {
    let server = launch.start();
    let connection = server.ask(&get("/hold?gate"));
    let site = server.site.clone();
    server.eventually("the application holds the request", || site.has("held"));
    (server, connection)
}

/// Replaces the application's generation.
fn write_generation(site: &Site, generation: &str) {
    let app = include_str!("../apps/processes/app.py");
    site.write(
        "app.py",
        &app.replace(
            "GENERATION = \"1\"",
            &format!("GENERATION = \"{generation}\""),
        ),
    );
}

#[test]
fn term_int_and_quit_finish_the_requests_in_flight() {
    if differs(
        "SIGTERM, SIGINT and SIGQUIT finish the requests in flight, then stop; uWSGI drops the requests, or reloads.",
    ) {
        return;
    }
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let (mut server, mut held) =
            server_with_request(Site::with("processes").server().set("processes", 2));
        server.signal(signal);
        server.eventually("one worker at most is left", || server.workers().len() <= 1);
        server.site.write("gate", "");
        held.answer().expect_text("held by generation 1");
        assert!(server.wait_for_exit().unwrap().success(), "{signal}");
    }
}

#[test]
fn an_idle_server_stops_at_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Site::with("processes")
            .server()
            .set("processes", 2)
            .set("threads", 2)
            .start();
        server.get("/pid").expect(200);
        let begun = Instant::now();
        server.signal(signal);
        assert!(server.wait_for_exit().unwrap().success());
        // uWSGI waits for one second or for the mercy
        assert!(
            under_uwsgi() || begun.elapsed() < wait::PROMPTLY,
            "{:?}",
            begun.elapsed()
        );
    }
}

#[test]
fn idle_connections_do_not_delay_the_stop() {
    if under_uwsgi() {
        return; // uWSGI's worker waits for idle connections
    }
    let mut server = Site::with("processes")
        .server()
        .set("socket-timeout", 60)
        .set("socket", "app.sock")
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .start();
    let idle = server.connect();
    let mut half = server.connect();
    half.put(&get("/pid").bytes()[..20]);
    let mut kept = server.http();
    kept.get("/pid").expect(200);
    let begun = Instant::now();
    server.signal(Signal::SIGTERM);
    assert!(server.wait_for_exit().unwrap().success());
    assert!(begun.elapsed() < wait::PROMPTLY, "{:?}", begun.elapsed());
    drop((idle, half, kept));
}

#[test]
fn a_second_signal_stops_at_once() {
    if differs("A second SIGTERM, SIGINT or SIGQUIT stops without waiting for requests.") {
        return;
    }
    let (mut server, mut held) = server_with_request(Site::with("processes").server());
    server.signal(Signal::SIGTERM);
    server.wait_for_log("stopping");
    server.allow_any_exit();
    server.insist(Signal::SIGTERM);
    assert!(held.rest().0.is_empty());
}

#[test]
fn a_stop_waits_no_longer_than_the_mercy() {
    if differs(
        "worker-reload-mercy also limits the wait for requests when stopping; uWSGI does not wait then.",
    ) {
        return;
    }
    let (mut server, mut held) = server_with_request(
        Site::with("processes")
            .server()
            .set("worker-reload-mercy", 1),
    );
    server.signal(Signal::SIGTERM);
    server.allow_any_exit();
    server.wait_for_exit();
    assert!(held.rest().0.is_empty());
    server.wait_for_log("mercy");
}

#[test]
fn inherited_ignored_signals_are_handled() {
    let mut server = Site::with("processes")
        .server()
        .under(&["env", "--ignore-signal=INT,HUP"])
        .start();
    if !under_uwsgi() {
        server.signal(Signal::SIGHUP);
        server.wait_for_log("generation 2 serves");
    }
    server.allow_any_exit();
    server.signal(Signal::SIGINT);
    server.wait_for_exit();
}

#[test]
fn hup_during_the_start_reloads_after_the_start() {
    if differs(
        "A SIGHUP during the start takes effect when the start is complete; uWSGI ignores it.",
    ) {
        return;
    }
    let app = "import os, time\nwhile not os.path.exists('gate'):\n    time.sleep(0.005)\n";
    let site = Site::of(&format!("{app}{}", include_str!("../apps/hello/app.py")));
    let mut server = site.server().set("processes", 2).spawn();
    server.eventually("the socket is bound", || site.has("app.sock"));
    server.signal(Signal::SIGHUP);
    site.write("gate", "");
    server.wait_for_log("generation 2 serves");
    assert!(server.exited().is_none());
}

#[test]
fn hup_loads_new_code_and_finishes_the_requests_in_flight() {
    let (server, mut held) =
        server_with_request(Site::with("processes").server().set("processes", 2));
    write_generation(&server.site, "2");
    server.signal(Signal::SIGHUP);
    if !under_uwsgi() {
        server.eventually("the new generation answers", || {
            server.get("/generation").text() == "2"
        });
    }
    server.site.write("gate", "");
    held.answer().expect_text("held by generation 1");
    server.eventually("the new generation answers", || {
        server.get("/generation").text() == "2"
    });
}

#[test]
fn the_master_keeps_its_process_id_over_reloads() {
    let server = Site::with("processes").server().start();
    for generation in ["2", "3"] {
        write_generation(&server.site, generation);
        server.signal(Signal::SIGHUP);
        server.eventually("the new generation answers", || {
            server.get("/generation").text() == generation
        });
        server
            .get("/parent")
            .expect_text(&server.master.to_string());
    }
}

#[test]
fn broken_code_keeps_the_old_generation() {
    if differs(
        "A reload to code that cannot be loaded leaves the old workers serving; uWSGI exits.",
    ) {
        return;
    }
    let mut server = Site::with("processes").server().set("processes", 2).start();
    let workers = server.wait_for_workers(2);
    server
        .site
        .write("app.py", "def application(environ start_response):\n");
    server.signal(Signal::SIGHUP);
    server.expect_log("SyntaxError");
    server.get("/generation").expect_text("1");
    server.eventually("the failed generation is gone", || {
        server.zygotes().len() == 1
    });
    assert_eq!(server.workers(), workers);
    assert_eq!(server.log_lines("SyntaxError").len(), 1, "{}", server.log());
    write_generation(&server.site, "2");
    server.signal(Signal::SIGHUP);
    server.eventually("the repaired code answers", || {
        server.get("/generation").text() == "2"
    });
}

#[test]
fn many_reloads_leak_nothing() {
    let server = Site::with("generation")
        .server()
        .set("processes", 2)
        .start();
    server.wait_for_workers(2);
    server.wait_until_complete();
    let before = proc::descriptors(server.master);
    let mut last = server.get("/").text();
    for _ in 0..5 {
        server.signal(Signal::SIGHUP);
        server.eventually("the new generation answers", || {
            server.get("/").text() != last
        });
        last = server.get("/").text();
    }
    server.eventually("the old generations are gone", || {
        server.workers().len() == 2 && proc::descriptors(server.master) <= before
    });
}

#[test]
fn a_reload_during_a_reload_loads_the_newest_code() {
    if under_uwsgi() {
        return; // uWSGI loses signals during a reload
    }
    let server = Site::with("processes").server().start();
    for generation in 2..8 {
        write_generation(&server.site, &generation.to_string());
        server.signal(Signal::SIGHUP);
    }
    server.eventually("the newest generation answers", || {
        server.get("/generation").text() == "7"
    });
}

#[test]
fn a_stop_during_a_reload_stops_the_instance() {
    if under_uwsgi() {
        return; // uWSGI loses signals during a reload
    }
    let site = Site::with("processes");
    let mut server = site.server().start();
    let app = include_str!("../apps/processes/app.py");
    site.write(
        "app.py",
        &format!("import time\nopen('loading', 'w')\ntime.sleep(600)\n{app}"),
    );
    server.signal(Signal::SIGHUP);
    server.eventually("the new generation loads", || site.has("loading"));
    server.get("/generation").expect_text("1");
    server.signal(Signal::SIGTERM);
    assert!(server.wait_for_exit().unwrap().success());
}

#[test]
fn a_reload_follows_the_changed_link_to_the_current_release() {
    let site = Site::empty();
    for release in ["1", "2"] {
        let app = include_str!("../apps/processes/app.py")
            .replace("GENERATION = \"1\"", &format!("GENERATION = \"{release}\""));
        site.write(&format!("release-{release}/app.py"), &app);
    }
    let link = |release: &str| {
        let _ = std::fs::remove_file(site.file("current"));
        std::os::unix::fs::symlink(site.file(release), site.file("current")).unwrap();
    };
    link("release-1");
    let launch = site
        .server()
        .set("socket", site.at("app.sock"))
        .set("chdir", site.at("current"));
    let server = launch.set("module", "app").start();
    server.get("/generation").expect_text("1");
    link("release-2");
    server.signal(Signal::SIGHUP);
    server.eventually("the new release answers", || {
        server.get("/generation").text() == "2"
    });
}

#[test]
fn with_die_on_term_off_term_is_a_reload() {
    if under_uwsgi() {
        return; // the kit sets die-on-term for uWSGI
    }
    let server = Site::with("generation")
        .server()
        .set("die-on-term", "false")
        .start();
    let first = server.get("/").text();
    server.signal(Signal::SIGTERM);
    server.eventually("the new generation answers", || {
        server.get("/").text() != first
    });
    let mut server = server;
    server.signal(Signal::SIGINT);
    assert!(server.wait_for_exit().unwrap().success());
}

#[test]
fn unrelated_signals_do_not_end_the_master() {
    if differs("SIGUSR2 and SIGALRM do not end the master; uWSGI's master exits.") {
        return;
    }
    let server = Site::with("processes").server().start();
    for signal in [
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
        Signal::SIGWINCH,
        Signal::SIGPIPE,
        Signal::SIGCONT,
    ] {
        server.signal(signal);
        server.get("/pid").expect(200);
    }
    assert!(proc::is_running(server.master));
}

#[test]
fn signals_that_come_together_are_one_request() {
    if under_uwsgi() {
        return; // uWSGI drops the request at the first signal
    }
    let (mut server, mut held) =
        server_with_request(Site::with("processes").server().set("processes", 2));
    // as timeout(1) does: to the process and to its group
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGTERM] {
        server.signal(signal);
    }
    server.eventually("one worker at most is left", || server.workers().len() <= 1);
    server.site.write("gate", "");
    held.answer().expect_text("held by generation 1");
    assert!(server.wait_for_exit().unwrap().success());
}
