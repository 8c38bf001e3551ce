//! Worker ids: no two processes have the same one, in reloads and replacements of all kinds.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use nix::sys::signal::Signal;

use crate::kit::load::load;
use crate::kit::server::send;
use crate::kit::*;

/// Each worker locks a file with the name of its id, and records if another process has it locked. `/hold` waits for the
/// file `gate`; other requests answer with the id and the pid.
const APP: &str = "\
import fcntl, os, time
import uwsgi

with open('imports', 'a') as imports:
    imports.write('%d %d %d\\n' % (os.getpid(), uwsgi.masterpid(), uwsgi.worker_id()))

def claim():
    global lock
    lock = open('id-%d' % uwsgi.worker_id(), 'w')
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        with open('shared', 'a') as shared:
            shared.write('%d %d\\n' % (uwsgi.worker_id(), os.getpid()))

uwsgi.post_fork_hook = claim

def application(environ, start_response):
    if environ['PATH_INFO'] == '/hold':
        open('held', 'w').close()
        while not os.path.exists('gate'):
            time.sleep(0.005)
    if environ['PATH_INFO'] == '/exit':
        raise SystemExit
    body = b'%d %d' % (uwsgi.worker_id(), os.getpid())
    if environ['PATH_INFO'] == '/master':
        body = b'%d' % uwsgi.masterpid()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
";

fn launch(processes: usize) -> Launch {
    Site::of(APP)
        .server()
        .set("processes", processes)
        .set("disable-logging", "true")
}

#[track_caller]
fn expect_unshared(server: &Server) {
    let shared = server.site.read("shared");
    assert_eq!(shared, "", "two processes had the same worker id");
}

/// Waits until none of these processes is left and as many others serve.
#[track_caller]
fn wait_for_others(server: &Server, old: &[i32]) {
    server.eventually("other workers serve", || {
        let now = server.workers();
        now.len() == old.len() && now.iter().all(|pid| !old.contains(pid))
    });
}

#[test]
fn no_two_processes_have_one_id_in_reloads_under_load() {
    let server = launch(3).start();
    server.wait_for_workers(3);
    let outcome = load(&server, 4, "/", |answered| {
        for _ in 0..3 {
            let old = server.wait_for_workers(3);
            server.signal(Signal::SIGHUP);
            wait_for_others(&server, &old);
            let so_far = answered.load(Ordering::Relaxed);
            server.eventually("requests are answered", || {
                answered.load(Ordering::Relaxed) > so_far
            });
        }
    });
    assert!(under_uwsgi() || outcome.lost == 0, "{} lost", outcome.lost);
    expect_unshared(&server);
}

#[test]
fn no_two_processes_have_one_id_when_workers_reach_their_limits() {
    if under_uwsgi() {
        return; // it does not always stop with max-requests and threads
    }
    let server = launch(2)
        .set("threads", 2)
        .set("max-requests", 20)
        .set("min-worker-lifetime", 0)
        .start();
    server.wait_for_workers(2);
    let mut seen = BTreeSet::new();
    let outcome = load(&server, 4, "/", |_| {
        server.eventually("workers were replaced", || {
            seen.extend(server.workers());
            seen.len() >= 6
        });
    });
    assert!(under_uwsgi() || outcome.lost == 0, "{} lost", outcome.lost);
    expect_unshared(&server);
}

#[test]
fn no_two_processes_have_one_id_when_workers_die_or_exit() {
    let mut server = launch(2).start();
    for round in 0..4 {
        let old = server.wait_for_workers(2);
        match round {
            0 | 1 => send(old[0], Signal::SIGKILL),
            _ => {
                // the application's exit ends the worker after its response
                let _ = server.get("/exit");
            }
        }
        server.eventually("a worker is replaced", || {
            let now = server.workers();
            now.len() == 2 && now != old
        });
    }
    if !under_uwsgi() {
        server.expect_log("SystemExit");
    }
    expect_unshared(&server);
}

#[test]
fn no_two_processes_have_one_id_when_an_operator_replaces_and_scales() {
    if under_uwsgi() {
        return; // it has no such commands
    }
    let server = launch(3).start();
    server.wait_until_complete();
    for words in [
        &["kill-worker", "site", "2", "--wait"][..],
        &["kill-worker", "site", "1", "--now", "--wait"],
        &["scale", "site", "1", "--wait"],
        &["scale", "site", "3", "--wait"],
        &["reload", "site", "--wait"],
    ] {
        let output = server.command(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        server.get("/").expect(200);
    }
    expect_unshared(&server);
}

/// A single worker with a request in flight: the connections wait until it has exited.
#[test]
fn a_reload_waits_for_the_request_of_a_single_worker() {
    let server = launch(1).start();
    let old = server.wait_for_workers(1);
    let mut held = server.ask(&get("/hold"));
    server.eventually("the request is held", || server.site.has("held"));
    server.signal(Signal::SIGHUP);
    server.eventually("the application is imported again", || {
        // uWSGI imports it after the request
        under_uwsgi() || server.site.read("imports").lines().count() == 2
    });
    let mut waiting = server.ask(&get("/"));
    server.site.write("gate", "");
    held.answer().expect_text(&format!("1 {}", old[0]));
    waiting.answer().expect(200);
    wait_for_others(&server, &old);
    expect_unshared(&server);
}

#[test]
fn a_request_that_takes_long_delays_its_replacement_for_a_limited_time() {
    if differs(
        "A request that takes longer than worker-id-timeout does not delay a reload or a replacement further; two processes have its worker id then, and the log names both. uWSGI waits for worker-reload-mercy.",
    ) {
        return;
    }
    let server = launch(1).set("worker-id-timeout", 1).start();
    let old = server.wait_for_workers(1)[0];
    let mut held = server.ask(&get("/hold"));
    server.eventually("the request is held", || server.site.has("held"));
    server.signal(Signal::SIGHUP);
    let next = server.get("/").expect(200).text();
    let new = next.strip_prefix("1 ").unwrap();
    let lines = server.log_lines("worker-id-timeout");
    assert!(
        lines.len() == 1
            && lines[0].contains(&format!("pid {old} "))
            && lines[0].contains(&format!("pid {new} ")),
        "{lines:?}"
    );
    server.site.write("gate", "");
    held.answer().expect_text(&format!("1 {old}"));
    server.wait_for_workers(1);
}

/// Connections between two requests do not keep a worker that is replaced.
#[test]
fn an_idle_http_connection_does_not_delay_a_replacement() {
    if differs("An idle HTTP connection is closed when its worker is replaced.") {
        return;
    }
    let server = Site::of(APP)
        .server()
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .set("http-keepalive", 300)
        .set("socket-timeout", 300)
        .start();
    let mut idle = server.http();
    idle.get("/").expect(200);
    let silent = server.http();
    let mut unfinished = server.http();
    unfinished.put("GET / HTTP/1.1\r\nHost: exam");
    let old = server.wait_for_workers(1);
    server.signal(Signal::SIGHUP);
    wait_for_others(&server, &old);
    assert!(
        !server.log().contains("worker-id-timeout"),
        "{}",
        server.log()
    );
    drop((idle, silent, unfinished));
    expect_unshared(&server);
}

/// The failure of a worker of the new generation ends the reload, when it has taken over the ids of others.
#[test]
fn a_reload_that_fails_at_its_second_worker_gives_the_ids_back() {
    if differs(
        "A reload whose workers cannot start is cancelled, and the old generation continues.",
    ) {
        return;
    }
    let site = Site::of(&format!(
        "{APP}\nif uwsgi.is_a_reload:\n    \
         def hook():\n        \
         claim()\n        \
         if uwsgi.worker_id() == 2:\n            os._exit(9)\n    \
         uwsgi.post_fork_hook = hook\n"
    ));
    let mut server = site.server().set("processes", 2).start();
    server.wait_for_workers(2);
    let output = server.command(&["reload", "site", "--wait"]);
    assert!(!output.status.success(), "{output:?}");
    server.eventually("two workers serve again", || server.workers().len() == 2);
    server.expect_log("reload failed");
    for _ in 0..4 {
        server.get("/").expect(200);
    }
    expect_unshared(&server);
}

/// In uWSGI the master imports the application; libraries compare the process ids to do something once.
#[test]
fn the_process_that_imports_the_application_counts_as_the_master() {
    let server = launch(2).start();
    server.wait_for_workers(2);
    let master = server.master.to_string();
    for _ in 0..2 {
        let imports = server.site.read("imports");
        let last: Vec<_> = imports.lines().next_back().unwrap().split(' ').collect();
        assert!(last[0] == last[1] && last[2] == "0", "{imports}");
        server.get("/master").expect_text(&master);
        let old = server.wait_for_workers(2);
        server.signal(Signal::SIGHUP);
        wait_for_others(&server, &old);
    }
    expect_unshared(&server);
}

#[test]
fn with_lazy_apps_a_worker_imports_with_its_id_and_the_master_s_pid() {
    let server = launch(1).set("lazy-apps", "true").start();
    let worker = server.wait_for_workers(1)[0];
    let expected = format!("{worker} {} 1\n", server.master);
    assert_eq!(server.site.read("imports"), expected);
    server
        .get("/master")
        .expect_text(&server.master.to_string());
}

/// A worker with a response that its client does not read ends the application, and gives its id up.
#[test]
fn a_client_that_reads_slowly_does_not_delay_a_replacement() {
    if differs(
        "A response that is still being sent to a slow client does not delay the replacement of its worker.",
    ) {
        return;
    }
    let app = format!(
        "{APP}\ninner = application\ndef application(environ, start_response):\n    \
         if environ['PATH_INFO'] == '/large':\n        \
         start_response('200 OK', [('Content-Length', '30000000')])\n        \
         return [b'x' * 30000000]\n    \
         return inner(environ, start_response)\n"
    );
    let server = Site::of(&app)
        .server()
        .set("socket-timeout", 300)
        .set("disable-logging", "true")
        .start();
    let old = server.wait_for_workers(1)[0];
    let mut slow = server.ask(&get("/large"));
    slow.until("\r\n\r\n");
    server.get("/").expect_text(&format!("1 {old}"));
    server.signal(Signal::SIGHUP);
    server.eventually("another worker serves", || {
        server.get("/").expect(200).text() != format!("1 {old}")
    });
    assert!(
        !server.log().contains("worker-id-timeout"),
        "{}",
        server.log()
    );
    assert!(
        server.workers().contains(&old),
        "the response is still being sent"
    );
    expect_unshared(&server);
    let (rest, _) = slow.rest();
    assert_eq!(rest.len(), 30_000_000);
    server.eventually("it has exited", || server.workers().len() == 1);
}

#[test]
fn a_reload_with_lazy_apps_keeps_the_ids_unique_and_the_workers_if_it_fails() {
    for processes in [1, 2] {
        let mut server = launch(processes).set("lazy-apps", "true").start();
        let old = server.wait_for_workers(processes);
        if !under_uwsgi() {
            server
                .site
                .write("app.py", "raise RuntimeError('broken on purpose')\n");
            let output = server.command(&["reload", "site", "--wait"]);
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                !output.status.success() && text.contains("broken on purpose"),
                "{text}"
            );
            assert_eq!(server.workers(), old);
            server.get("/").expect(200);
            server.site.write("app.py", APP);
            server.expect_log("reload failed");
        }
        server.signal(Signal::SIGHUP);
        wait_for_others(&server, &old);
        server.get("/").expect(200);
        expect_unshared(&server);
    }
}
