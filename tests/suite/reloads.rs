//! Reloads of a slow application: each trigger of a reload, while clients send requests continuously.
//!
//! `KIT_BIG=1`: an import of 5 s, 16 clients, and a comparison of the response times.

use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::kit::load::{Outcome, load, scaled};
use crate::kit::*;

/// Writes an application that is slow to import and responds with the time of its import.
fn write_app(site: &Site, broken: bool) {
    let seconds = scaled(1, 5);
    let fault = if broken {
        "raise RuntimeError('broken on purpose')"
    } else {
        ""
    };
    site.write(
        "app.py",
        &format!(
            "import time, uwsgi\ntime.sleep({seconds})\n{fault}\nBORN = b'%d' % time.time_ns()\n\
             def application(environ, start_response):\n\
             \x20   if environ['PATH_INFO'] == '/reload':\n\
             \x20       uwsgi.reload()\n\
             \x20   start_response('200 OK', [])\n\
             \x20   return [BORN]\n"
        ),
    );
}

fn server() -> Server {
    let site = Site::empty();
    write_app(&site, false);
    for file in ["touched", "workers", "chained", "watched"] {
        site.write(file, "");
    }
    site.server()
        .set("processes", 4)
        .set("disable-logging", "true")
        .set("touch-reload", site.at("touched"))
        .set("touch-workers-reload", site.at("workers"))
        .set("touch-chain-reload", site.at("chained"))
        .set("master-fifo", site.at("fifo"))
        .set("fs-reload", site.at("watched"))
        .set("py-autoreload", 1)
        .start()
}

fn clients() -> usize {
    scaled(4, 16)
}

/// The import that responds.
fn responding_import(server: &Server) -> String {
    server.get("/").expect(200).text()
}

/// Waits until only generations after `before` respond.
#[track_caller]
fn wait_for_new_generation(server: &Server, before: &str, old: &[i32]) {
    server.eventually("only the new generation is left", || {
        let workers = server.workers();
        workers.len() == 4 && workers.iter().all(|pid| !old.contains(pid))
    });
    assert_ne!(responding_import(server), before);
}

/// The 99th percentile of the response times.
fn p99(outcome: &Outcome) -> Duration {
    outcome.times[outcome.times.len() * 99 / 100]
}

/// Load until this many requests have succeeded.
fn load_until(server: &Server, requests: usize) -> Outcome {
    load(server, clients(), "/", |answered| {
        server.eventually("requests are answered", || {
            answered.load(Ordering::Relaxed) >= requests
        });
    })
}

/// Reloads under load with one trigger; no request may be lost.
fn check_reload(way: &str, order: impl Fn(&Server)) {
    if under_uwsgi() {
        return; // uWSGI stalls for the time of the import
    }
    let server = server();
    server.wait_for_workers(4);
    let quiet = load_until(&server, scaled(200, 20_000));
    let (before, old) = (responding_import(&server), server.workers());
    let reload = load(&server, clients(), "/", |_| {
        order(&server);
        wait_for_new_generation(&server, &before, &old);
    });
    assert_eq!(reload.lost, 0, "{way}: of {}", reload.answered);
    assert_eq!(quiet.lost, 0);
    if std::env::var_os("KIT_BIG").is_some() {
        let (usual, then) = (p99(&quiet), p99(&reload));
        eprintln!(
            "{way}: {} answered, none lost; p99 {usual:?} before, {then:?} during the reload, at most {:?}",
            reload.answered,
            reload.times.last().copied().unwrap_or_default()
        );
        assert!(
            then < usual * 2 + Duration::from_millis(5),
            "{way}: p99 {usual:?} before, {then:?} during the reload"
        );
    }
    server.stop();
}

#[test]
fn by_a_signal() {
    check_reload("SIGHUP", |server| server.signal(Signal::SIGHUP));
}

#[test]
fn by_the_application() {
    check_reload("uwsgi.reload()", |server| drop(server.get("/reload")));
}

#[test]
fn by_the_control_command_with_wait() {
    check_reload("ruwsgi reload --wait", |server| {
        let output = server.command(&["reload", "site", "--wait"]);
        assert!(output.status.success(), "{output:?}");
    });
}

#[test]
fn by_a_touched_file() {
    check_reload("touch-reload", |server| {
        server.site.write("touched", "again");
    });
}

#[test]
fn by_a_letter_in_the_fifo() {
    check_reload("master-fifo r", |server| {
        std::fs::write(server.site.file("fifo"), "r").unwrap();
    });
}

#[test]
fn by_a_watched_file() {
    check_reload("fs-reload", |server| {
        server.site.write("watched", "again");
    });
}

#[test]
fn by_an_edit_of_the_application() {
    check_reload("py-autoreload", |server| write_app(&server.site, false));
}

#[test]
fn by_the_other_touch_options() {
    check_reload("touch-workers-reload", |server| {
        server.site.write("workers", "again");
    });
    check_reload("touch-chain-reload", |server| {
        server.site.write("chained", "again");
    });
}

#[test]
fn a_failed_reload_and_the_next_one_lose_no_request() {
    if differs(
        "A reload whose application cannot be loaded is cancelled; the old generation continues, and ruwsgi reload --wait fails with the traceback.",
    ) {
        return;
    }
    let mut server = server();
    let (before, old) = (responding_import(&server), server.wait_for_workers(4));
    let outcome = load(&server, clients(), "/", |_| {
        write_app(&server.site, true);
        let output = server.command(&["reload", "site", "--wait"]);
        assert!(!output.status.success());
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.contains("broken on purpose"), "{output}");
        assert_eq!(responding_import(&server), before);
        write_app(&server.site, false);
        let output = server.command(&["reload", "site", "--wait"]);
        assert!(output.status.success(), "{output:?}");
        assert_ne!(responding_import(&server), before);
        wait_for_new_generation(&server, &before, &old);
    });
    assert_eq!(outcome.lost, 0, "of {}", outcome.answered);
    server.expect_log("broken on purpose");
    server.stop();
}

/// A single connection that arrives while the old worker exits is served, even if no other connection follows.
#[test]
fn a_connection_during_a_reload_does_not_wait_for_another() {
    let site = Site::with("hello");
    let http = format!("127.0.0.1:{}", free_port());
    // with two sockets the workers wait in epoll_wait(2)
    let server = site
        .server()
        .set("socket", site.at("app.sock"))
        .set("http-socket", http)
        .set("disable-logging", "true")
        .start();
    for generation in 2..scaled(42, 202) {
        server.signal(Signal::SIGHUP);
        server.eventually("the next generation serves", || {
            server.get("/").expect_text("hello\n");
            server
                .log()
                .contains(&format!("generation {generation} serves"))
        });
    }
    server.stop();
}

/// The file is touched after the application was read and before the start is complete.
#[test]
fn a_file_touched_during_the_start_is_noticed() {
    if differs(
        "A touch-reload file that is touched while the application is loading triggers a reload.",
    ) {
        return;
    }
    let wait = "import os, time\nopen('loading', 'w').close()\nwhile not os.path.exists('gate'):\n    time.sleep(0.005)\n";
    let site = Site::of(&format!("{wait}{}", include_str!("../apps/hello/app.py")));
    site.write("touched", "1");
    site.write("also", "1");
    let server = site
        .server()
        .set("touch-reload", site.at("touched"))
        .set("touch-exec", format!("{} echo >> ran", site.at("also")))
        .spawn();
    server.eventually("it is loading", || site.has("loading"));
    site.write("touched", "2");
    site.write("also", "2");
    site.write("gate", "");
    server.wait_for_log("generation 2 serves");
    server.eventually("the command ran", || site.has("ran"));
    server.get("/").expect_text("hello\n");
    server.stop();
}
