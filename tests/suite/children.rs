//! Forked processes: the children that the application forks.

use nix::sys::signal::Signal;

use crate::kit::proc;
use crate::kit::server::send;
use crate::kit::*;

fn server(threads: usize) -> Server {
    let launch = Site::with("children").server().set("threads", threads);
    let server = launch
        .set("enable-threads", "true")
        .set("master", "true")
        .start();
    server.wait_for_workers(1);
    server
}

#[test]
fn a_forked_child_has_default_signals_and_no_descriptor_of_the_worker() {
    if differs(
        "A process that the application forks has default signal dispositions, and no listener or client socket; in uWSGI it keeps them.",
    ) {
        return;
    }
    let site = Site::with("children");
    let launch = site.server().set("harakiri", 60).set("threads", 2);
    let launch = launch.set("socket", "app.sock");
    let http = format!("127.0.0.1:{}", free_port());
    let server = launch.set("http-socket", http).start();
    let mut idle = server.http();
    idle.get("/pid").expect(200);
    for uri in ["/facts", "/preexec"] {
        let facts = server.get(uri).expect(200).json();
        // Python itself handles SIGINT, and the C library its own two real-time signals
        let python = 1 << (Signal::SIGINT as u64 - 1);
        let caught = facts["caught"].as_u64().unwrap() & !(3 << 31);
        assert_eq!(caught, python, "{uri}: {facts}");
        assert_eq!(facts["blocked"], 0, "{uri}: {facts}");
        assert_eq!(facts["interrupt"], true, "{uri}: {facts}");
        assert_eq!(facts["private"], serde_json::json!([]), "{uri}: {facts}");
    }
}

#[test]
fn a_child_can_be_terminated() {
    if under_uwsgi() {
        return; // its children handle the signal
    }
    let server = server(1);
    server.get("/terminate").expect_text("-15");
    server.get("/pool").expect_text("terminated");
}

#[test]
fn every_start_method_works() {
    if under_uwsgi() {
        return; // sys.executable is uwsgi itself there
    }
    server(1).get("/methods").expect_text("[1, 1, 1]");
}

#[test]
fn a_response_ends_although_a_child_lives_on() {
    if differs(
        "The client sees the end of its response although a child that the application has forked lives on.",
    ) {
        return;
    }
    let server = server(1);
    server.get("/outlives").expect_text("answered");
    let child = server.site.read("pid").parse().unwrap();
    assert!(proc::is_running(child));
    send(child, Signal::SIGTERM);
    server.eventually("the child has ended", || !proc::is_running(child));
}

#[test]
fn a_child_that_leaves_its_request_ends() {
    if differs(
        "A forked child that leaves the application ends, with the status of a Python program; in uWSGI it serves on.",
    ) {
        return;
    }
    for threads in [1, 2] {
        let mut server = server(threads);
        let worker = server.get("/pid").expect(200).text();
        for (uri, status) in [
            ("/exit", "7"),
            ("/return", "0"),
            ("/generator", "0"),
            ("/end-of-generator", "0"),
            ("/raise", "1"),
        ] {
            server.get(uri).expect_text(status);
        }
        server.expect_log("ZeroDivisionError");
        let refused = server.site.read("refused");
        assert!(refused.contains("forked by the application"), "{refused}");
        server.get("/pid").expect_text(&worker);
        assert!(
            !server.site.has("exited"),
            "atexit functions are the worker's"
        );
    }
}

#[test]
fn a_process_forked_at_import_does_not_hold_the_listener() {
    if under_uwsgi() {
        return; // it does there
    }
    let site = Site::of(
        "import os, sys, time\n\
         child = os.fork()\n\
         if child == 0:\n    \
             open('pid', 'w').write(str(os.getpid()))\n    \
             time.sleep(60)\n\
         if os.fork() == 0:\n    \
             sys.exit(0)\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             return [b'ok']\n",
    );
    let server = site.server().start();
    server.get("/").expect_text("ok");
    server.eventually("the child has written its pid", || {
        site.has("pid") && !site.read("pid").is_empty()
    });
    let child = site.read("pid").parse().unwrap();
    let links = std::fs::read_dir(format!("/proc/{child}/fd")).unwrap();
    let links = links.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    let sockets: Vec<_> = links
        .filter(|link| link.to_string_lossy().starts_with("socket:"))
        .collect();
    assert!(sockets.is_empty(), "{sockets:?}");
    send(child, Signal::SIGTERM);
    server.eventually("the child has ended", || !proc::is_running(child));
}

#[test]
fn processes_that_the_trial_of_a_lazy_import_has_started_end_with_it() {
    if under_uwsgi() {
        return; // it makes no trial
    }
    let site = Site::of(
        "import multiprocessing, os\n\
         manager = multiprocessing.Manager()\n\
         open('managers', 'a').write('%d\\n' % manager._process.pid)\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             return [str(os.getpid()).encode()]\n",
    );
    let server = site.server().set("lazy-apps", "true").start();
    let first = server.get("/").expect(200).text();
    server.signal(Signal::SIGHUP);
    server.eventually("another worker serves", || {
        server.get("/").expect(200).text() != first
    });
    // those of the first worker, of the trial, and of the second worker
    let started = site.read("managers");
    let started: Vec<i32> = started.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(started.len(), 3);
    server.eventually("only the manager of the second worker is left", || {
        [true, true, false] == [0, 1, 2].map(|it| !proc::is_running(started[it]))
    });
}
