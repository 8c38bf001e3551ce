//! Request lines in a log file: no write of the worker, and no line lost or doubled when a process is killed.

use std::collections::HashMap;
use std::fs;

use nix::sys::signal::Signal;

use crate::kit::load::{scaled, succeeds};
use crate::kit::server::send;
use crate::kit::*;

fn server(site: &Site, processes: usize) -> Server {
    let server = site
        .server()
        .set("logto", site.at("main.log"))
        .logging_to("main.log")
        .set("processes", processes)
        .set("log-format", "line %(uri)")
        .start();
    server.wait_for_workers(processes);
    server
}

/// How often the line of each URI is in the log.
fn lines(site: &Site) -> HashMap<String, usize> {
    let mut found = HashMap::new();
    for line in site.read("main.log").lines() {
        if let Some(uri) = line.strip_prefix("line ") {
            *found.entry(uri.to_owned()).or_default() += 1;
        }
    }
    found
}

/// Number of calls of write(2) and its relatives by a process, without send(2).
fn writes(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix("syscw: "));
    value.unwrap().parse().unwrap()
}

#[test]
fn a_worker_writes_its_response_and_no_line() {
    if differs("A log file gets the request lines of many requests in one write.") {
        return;
    }
    const COUNT: usize = 500;
    let site = Site::with("logging");
    let server = server(&site, 1);
    let worker = server.workers()[0];
    let before = writes(worker);
    for number in 0..COUNT {
        server.get(&format!("/{number}")).expect_text("ok\n");
    }
    let written = writes(worker) - before;
    server.eventually("all lines are written", || lines(&site).len() == COUNT);
    // a response is one write; lines that find the master asleep cost one more
    assert!(written < COUNT as u64 * 2, "{written} writes");
}

#[test]
fn a_killed_worker_loses_and_doubles_no_line() {
    let site = Site::with("logging");
    let mut server = server(&site, 4);
    server.allow_any_exit();
    let mut answered = Vec::new();
    for kill in 0..scaled(20, 200) {
        for number in 0..50 {
            let uri = format!("/{kill}-{number}");
            if succeeds(&server, &uri) {
                answered.push(uri);
            }
        }
        let workers = server.workers();
        if let Some(worker) = workers.get(kill % 4) {
            send(*worker, Signal::SIGKILL);
        }
    }
    server.eventually("every answered request has its line", || {
        let lines = lines(&site);
        answered.iter().all(|uri| lines.contains_key(uri))
    });
    let doubled: Vec<_> = lines(&site).into_iter().filter(|it| it.1 != 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
}

#[test]
fn a_stopped_master_delays_no_request() {
    let site = Site::with("logging");
    let server = server(&site, 1);
    let long = "x".repeat(1000);
    server.signal(Signal::SIGSTOP);
    // more than the ring has space for
    for number in 0..200 {
        server.get(&format!("/{number}-{long}")).expect_text("ok\n");
    }
    server.signal(Signal::SIGCONT);
    server.eventually("all lines are written", || lines(&site).len() == 200);
    assert!(lines(&site).values().all(|count| *count == 1));
}

#[test]
fn workers_without_their_master_write_their_lines() {
    let site = Site::with("logging");
    let mut server = server(&site, 1);
    server.signal(Signal::SIGSTOP);
    for number in 0..10 {
        server.get(&format!("/{number}")).expect_text("ok\n");
    }
    server.kill_master();
    server.eventually("all lines are written", || lines(&site).len() == 10);
}

#[test]
fn the_last_line_is_written_before_the_instance_has_stopped() {
    let site = Site::with("logging");
    for number in 0..5 {
        let server = server(&site, 2);
        server.get(&format!("/{number}")).expect_text("ok\n");
        server.stop();
        assert!(lines(&site).contains_key(&format!("/{number}")));
    }
}
