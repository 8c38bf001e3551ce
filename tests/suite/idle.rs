//! Instances without workers: before the first request, and after an idle period.

use std::time::Duration;

use crate::kit::server::send;
use crate::kit::*;
use nix::sys::signal::Signal;

/// Waits until only the zygote is left.
fn wait_until_no_workers(server: &Server) {
    // a worker that is exiting has one thread, like the zygote
    server.eventually("only the zygote is left", || {
        server.workers().is_empty() && (under_uwsgi() || server.zygotes().len() == 1)
    });
}

/// Sends requests until there are `count` workers: on a slow machine idle workers may stop before a check sees them.
pub fn wait_for_workers_under_requests(server: &Server, count: usize) {
    server.eventually(&format!("there are {count} workers"), || {
        server.get("/").expect_text("hello");
        server.workers().len() == count
    });
}

#[test]
fn idle_workers_stop_and_the_next_connection_starts_them() {
    let server = Site::with("life")
        .server()
        .set("processes", 2)
        .set("idle", 1)
        .start();
    for _ in 0..2 {
        server.get("/").expect_text("hello");
        wait_until_no_workers(&server);
        server.get("/").expect_text("hello");
    }
    if !under_uwsgi() {
        server.wait_for_lines("no request for 1 s (idle)", 2);
        wait_for_workers_under_requests(&server, 2);
        wait_until_no_workers(&server);
    }
}

/// A request that takes longer than the idle time does not stop its worker.
#[test]
fn a_request_in_flight_keeps_the_workers() {
    let server = Site::with("life").server().set("idle", 1).start();
    let mut asked = server.ask(&get("/stream?3"));
    asked.until("begun");
    let leaving = "no request for 1 s (idle)";
    let before = server.log_lines(leaving).len();
    asked.until("ended");
    assert_eq!(server.log_lines(leaving).len(), before, "{}", server.log());
    wait_until_no_workers(&server);
}

/// Connections arrive repeatedly at about the time at which the last worker stops.
#[test]
fn no_connection_is_lost_when_workers_stop_or_start() {
    for processes in [1, 2] {
        let server = Site::with("life")
            .server()
            .set("processes", processes)
            .set("idle", 1)
            .set("socket", "app.sock")
            .set("http-socket", format!("127.0.0.1:{}", free_port()))
            .start();
        for round in 0..6 {
            server.get("/").expect_text("hello");
            let mut client = server.http();
            client.get("/").expect_text("hello");
            // the time at which the workers stop depends on the load of the machine, so the rounds vary the delay
            std::thread::sleep(Duration::from_millis(970 + 20 * round));
            server.get("/").expect_text("hello");
        }
    }
}

#[test]
fn a_cheap_instance_has_no_worker_until_the_first_request() {
    let server = Site::with("life")
        .server()
        .set("processes", 2)
        .set("cheap", true)
        .spawn();
    server.wait_for_log(if under_uwsgi() {
        "cheap mode"
    } else {
        "ready: no worker until a connection comes"
    });
    assert_eq!(server.workers().len(), 0);
    server.get("/").expect_text("hello");
    server.wait_for_workers(2);
}

#[test]
fn an_idle_instance_reloads_without_workers_and_serves_the_new_code() {
    if differs("An instance that has stopped its idle workers is reloaded without starting them.") {
        return;
    }
    let mut server = Site::with("life").server().set("idle", 1).start();
    server.get("/pid").expect(200);
    wait_until_no_workers(&server);
    let life = server.site.read("app.py");
    server.site.write("app.py", &life.replace("hello", "news"));
    server.signal(Signal::SIGHUP);
    server.wait_for_log("reloaded: generation 2 serves, no worker until a connection comes");
    server.get("/").expect_text("news");
    wait_until_no_workers(&server);
    server.site.write("app.py", "nonsense(");
    server.signal(Signal::SIGHUP);
    server.expect_log("reload failed");
    server.get("/").expect_text("news");
}

#[test]
fn a_zygote_that_dies_while_there_are_no_workers_is_replaced() {
    if differs("While no workers run, the application stays loaded in the zygote.") {
        return;
    }
    let mut server = Site::with("life").server().set("idle", 1).start();
    wait_until_no_workers(&server);
    send(server.zygotes()[0], Signal::SIGKILL);
    server.expect_log("the workers continue to serve");
    server.get("/").expect_text("hello");
}

#[test]
fn with_die_on_idle_the_instance_exits_with_status_0() {
    let mut server = Site::with("life")
        .server()
        .set("idle", 1)
        .set("die-on-idle", true)
        .spawn();
    let status = server.wait_for_exit().unwrap();
    assert!(status.success(), "{status}");
    if !under_uwsgi() {
        server.wait_for_log("(die-on-idle)");
    }
}

#[test]
fn die_on_idle_finishes_an_upload_in_progress() {
    if differs("A request that is arriving while idle workers stop is served.") {
        return;
    }
    let mut server = Site::with("life")
        .server()
        .set("idle", 4)
        .set("die-on-idle", true)
        .set("socket-timeout", 30)
        .start();
    let bytes = get("/").bytes();
    let mut connection = server.connect();
    connection.put(&bytes[..10]);
    server.wait_for_log("no request for 4 s (idle)");
    connection.put(&bytes[10..]);
    connection.answer().expect_text("hello");
    let status = server.wait_for_exit().unwrap();
    assert!(status.success(), "{status}");
}
