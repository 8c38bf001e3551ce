//! Crashes and lack of resources: their cost, and what the log says.

use std::io::{BufRead, Read, Write};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::kit::server::send;
use crate::kit::*;

fn server(options: &[(&str, &str)]) -> Server {
    Site::with("life").server().set_all(options).start()
}

/// The record in the log that starts with the line that contains `text`.
fn record(server: &Server, text: &str) -> String {
    let log = server.log();
    let mut lines = log.lines().skip_while(|line| !line.contains(text));
    let first = lines.next().unwrap_or_default();
    let more = lines.take_while(|line| !line.contains("] master[") || line.contains("]:   "));
    [first]
        .into_iter()
        .chain(more)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_crash_in_native_code_is_logged_with_python_stacks() {
    if differs(
        "A crash report contains the Python stacks of all threads; uWSGI's contains a C backtrace.",
    ) {
        return;
    }
    let mut server = server(&[]);
    for (path, name) in [("/segfault", "SIGSEGV"), ("/abort", "SIGABRT")] {
        assert_eq!(server.get(path).status, 0);
        server.expect_log(&format!("({name})"));
        server.eventually("the record has the stacks", || {
            let record = record(&server, &format!("({name})"));
            record.contains("Fatal Python error") && record.contains("app.py")
        });
        server.get("/").expect_text("hello");
    }
    // an exit has no Python stack in its record
    assert_eq!(server.get("/exit?3").status, 0);
    server.expect_log("exited with status 3");
    assert!(!record(&server, "exited with status 3").contains("Fatal"));
}

#[test]
fn a_system_exit_in_a_request_is_an_orderly_exit_of_the_worker() {
    if differs("sys.exit in a request sends a response, then the worker exits cleanly.") {
        return;
    }
    let mut server = server(&[]);
    let before = server.wait_for_workers(1);
    let answer = server.get("/sysexit?4");
    assert!(
        answer.status == 500 || answer.status == 0,
        "{}",
        answer.status
    );
    server.eventually("another worker serves", || {
        let now = server.workers();
        now.len() == 1 && now != before
    });
    server.get("/").expect_text("hello");
    server.expect_log("exited as requested");
}

#[test]
fn twenty_crashes_in_a_row_do_not_stop_the_service() {
    let mut server = server(&[]);
    for _ in 0..20 {
        assert_eq!(server.get("/exit?3").status, 0);
    }
    let begun = Instant::now();
    server.get("/").expect_text("hello");
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    server.expect_log("");
}

#[test]
fn a_busy_worker_delays_a_reload_and_a_stop_at_most_for_the_mercy() {
    if differs(
        "worker-reload-mercy limits how long a request in an endless loop delays a stop or reload.",
    ) {
        return;
    }
    let mut server = server(&[("worker-reload-mercy", "1"), ("threads", "2")]);
    let before = server.wait_for_workers(1);
    let mut looping = server.ask(&get("/loop"));
    server.get("/").expect_text("hello");
    server.signal(Signal::SIGHUP);
    server.wait_for_log("reloaded: generation 2");
    server.get("/").expect_text("hello");
    server.expect_log("(worker-reload-mercy)");
    assert!(looping.rest().0.is_empty());
    server.eventually("only the new worker is there", || {
        server.workers().len() == 1 && server.workers() != before
    });
    let mut looping = server.ask(&get("/loop"));
    server.get("/").expect_text("hello");
    server.signal(Signal::SIGTERM);
    assert!(server.wait_for_exit().unwrap().success());
    assert!(looping.rest().0.is_empty());
}

#[test]
fn a_worker_waits_for_non_daemon_threads_within_the_mercy() {
    if differs(
        "A worker that stops waits for the application's non-daemon threads, at most worker-reload-mercy seconds.",
    ) {
        return;
    }
    let mut quick = server(&[]);
    quick.get("/linger?0.5").expect_text("started");
    quick.signal(Signal::SIGTERM);
    assert!(quick.wait_for_exit().unwrap().success());
    assert_eq!(quick.site.read("lingered"), "to the end");

    let mut endless = server(&[("worker-reload-mercy", "1")]);
    endless.get("/linger?600").expect_text("started");
    endless.signal(Signal::SIGTERM);
    assert!(endless.wait_for_exit().unwrap().success());
    endless.expect_log("(worker-reload-mercy)");
}

#[test]
fn unreaped_children_end_with_their_worker() {
    let mut server = server(&[]);
    let worker = server.wait_for_workers(1)[0];
    for _ in 0..5 {
        server.get("/children").expect_text("forked");
    }
    send(worker, Signal::SIGKILL);
    server.eventually("no zombie is left", || {
        let left = proc::of_session(server.master);
        left.iter().all(|process| process.state != 'Z')
    });
    server.get("/").expect_text("hello");
    server.expect_log("");
}

#[test]
fn an_allocation_over_limit_as_raises_a_memory_error_and_the_worker_continues() {
    let server = server(&[("limit-as", "900")]);
    let pid = server.get("/pid").expect(200).text();
    for _ in 0..3 {
        server.get("/balloon").expect_text("MemoryError");
    }
    server.get("/pid").expect_text(&pid);
}

#[test]
fn five_hups_in_a_second_lose_no_request() {
    if differs("Repeated reload requests lose no request.") {
        return;
    }
    let server = server(&[("processes", "2")]);
    for _ in 0..5 {
        server.signal(Signal::SIGHUP);
        for _ in 0..10 {
            server.get("/").expect_text("hello");
        }
    }
    server.wait_for_log("reloaded: generation");
    server.eventually("one generation is left", || {
        server.get("/").expect_text("hello");
        server.workers().len() == 2 && server.zygotes().len() == 1
    });
}

#[test]
fn a_zygote_that_does_not_fork_is_replaced() {
    if differs("A process that does not fork workers within ten seconds is replaced.") {
        return;
    }
    let mut server = server(&[("processes", "2")]);
    server.wait_for_workers(2);
    let stopped = server.zygotes();
    send(stopped[0], Signal::SIGSTOP);
    for worker in server.workers() {
        send(worker, Signal::SIGKILL);
    }
    server.expect_log("killed: it has not forked a worker within 10 s");
    server.get("/").expect_text("hello");
    server.wait_for_workers(2);
    assert_ne!(server.zygotes(), stopped);
}

#[test]
fn sigtstp_and_sigcont_do_not_affect_the_master() {
    if differs(
        "SIGTSTP stops the master until SIGCONT while its workers continue to serve; uWSGI pauses the workers.",
    ) {
        return;
    }
    let server = server(&[]);
    server.signal(Signal::SIGTSTP);
    server.get("/").expect_text("hello");
    server.signal(Signal::SIGCONT);
    let worker = server.wait_for_workers(1);
    server.signal(Signal::SIGHUP);
    server.eventually("the master handles signals again", || {
        let now = server.workers();
        now.len() == 1 && now != worker
    });
}

#[test]
fn a_server_out_of_descriptors_closes_silent_connections() {
    if differs(
        "The oldest silent connections are closed before they use up the descriptors of a worker.",
    ) {
        return;
    }
    let launch = Site::with("life").server();
    let server = launch
        .under(&["sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"])
        .start();
    let worker = server.wait_for_workers(1);
    let clients: Vec<_> = (0..200)
        .filter_map(|_| server.address().try_connect().ok())
        .collect();
    server.wait_for_log("the oldest first");
    server.get("/").expect_text("hello");
    drop(clients);
    server.get("/").expect_text("hello");
    assert_eq!(server.workers(), worker);
}

/// A server whose output pipe has no reader: the master, the pipe, and the address of the socket.
fn server_with_unread_log(site: &Site) -> (std::process::Child, Address) {
    site.write(
        "site.ini",
        "[uwsgi]\nsocket = app.sock\nwsgi-file = app.py\nprocesses = 2\n",
    );
    let mut command = site.ruwsgi(&["--ini", "site.ini"]);
    if let Some(python) = std::env::var_os("KIT_PYTHON") {
        command.arg("--python").arg(python);
    }
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (child, Address::Unix(site.file("app.sock")))
}

fn ask(address: &Address) -> Option<u16> {
    let mut connection = address.try_connect().ok()?;
    connection.write_all(&get("/").bytes()).ok()?;
    Some(connection.answer().status)
}

fn stop(mut child: std::process::Child) {
    send(child.id().cast_signed(), Signal::SIGTERM);
    let mut status = None;
    wait::eventually("the server ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert!(status.unwrap().success(), "{status:?}");
}

#[test]
fn a_closed_or_stalled_log_reader_does_not_block_requests() {
    if differs(
        "When the reader of the log is stuck, log lines are dropped and no request waits; uWSGI blocks.",
    ) {
        return;
    }
    let site = Site::with("life");
    let (mut child, address) = server_with_unread_log(&site);
    wait::eventually("it serves", || ask(&address) == Some(200));
    drop(child.stderr.take());
    for _ in 0..50 {
        assert_eq!(ask(&address), Some(200));
    }
    stop(child);

    let site = Site::with("life");
    let (mut child, address) = server_with_unread_log(&site);
    wait::eventually("it serves", || ask(&address) == Some(200));
    // a line has about 200 bytes, a pipe holds 64 KiB
    for _ in 0..1000 {
        assert_eq!(ask(&address), Some(200));
    }
    let pipe = std::io::BufReader::new(child.stderr.take().unwrap());
    let logged = std::sync::Arc::new(AtomicBool::new(false));
    let found = logged.clone();
    let reader = std::thread::spawn(move || {
        for line in pipe.lines().map_while(Result::ok) {
            let dropped = line.contains("lines of the log were dropped");
            found.fetch_or(dropped, Ordering::Relaxed);
        }
    });
    wait::eventually("the log has the reason", || {
        assert_eq!(ask(&address), Some(200));
        logged.load(Ordering::Relaxed)
    });
    stop(child);
    reader.join().unwrap();
}

#[test]
fn a_worker_whose_interpreter_lock_is_held_is_abandoned_at_once() {
    if differs(
        "When native code holds the interpreter lock past a request's deadline, another worker takes over at once.",
    ) {
        return;
    }
    let mut server = server(&[("threads", "4"), ("harakiri", "1")]);
    let first = server.wait_for_workers(1);
    let held = "native code holds the interpreter (GIL); the worker accepts no more requests";
    let mut hogs = Vec::new();
    // the main thread answers; another thread holds the lock, and then no thread answers
    while server.log_lines(held).is_empty() {
        let mut hog = server.ask(&get("/hog?60"));
        hog.set_timeout(Duration::from_millis(5));
        server.eventually("the request is answered or holds the lock", || {
            hog.read(&mut [0]).is_ok() || !server.log_lines(held).is_empty()
        });
        hogs.push(hog);
    }
    server.expect_log(held);
    // the next worker serves while the first one still runs or has just been killed
    server.get("/").expect_text("hello");
    server.expect_log("a request exceeded its deadline (harakiri)");
    let record = record(&server, "a request exceeded its deadline (harakiri)");
    assert!(record.contains("GET /hog?60"), "{record}");
    assert!(record.contains("in hog"), "{record}");
    let lines = server.log_lines("/hog?60 => generated");
    let killed = lines.iter().find(|line| line.contains("(harakiri)"));
    assert!(
        killed.is_some_and(|line| !line.contains("{0 vars")),
        "{lines:?}"
    );
    assert_ne!(server.wait_for_workers(1), first);
}

#[test]
fn the_request_of_a_killed_worker_is_logged_in_the_configured_format() {
    if differs(
        "The request of a worker killed by harakiri has a line in the request log, in the log-format.",
    ) {
        return;
    }
    let mut server = server(&[
        ("harakiri", "2"),
        (
            "log-format",
            "line: %(method) %(uri) %(status) %(rsize) %(addr) %(wid) %(pid) %(core) %(uagent)",
        ),
    ]);
    let worker = server.wait_for_workers(1)[0];
    let mut asked = server.ask(&get("/stream?600").var("HTTP_USER_AGENT", "an agent"));
    asked.until("begun");
    send(worker, Signal::SIGSTOP);
    server.expect_log("a request exceeded its deadline (harakiri)");
    server.wait_for_log("line: GET /stream");
    let lines = server.log_lines("line: GET /stream");
    let expected = format!("line: GET /stream?600 504 0 127.0.0.1 1 {worker} 0 -");
    assert_eq!(lines, [expected]);
    assert!(server.log_lines("/stream?600 => generated").is_empty());
}

#[test]
fn a_worker_whose_descriptors_the_application_closes_is_replaced() {
    if under_uwsgi() {
        return; // its worker fails to accept until it is killed
    }
    let app = "\
import os
def application(environ, start_response):
    if environ['PATH_INFO'] == '/close':
        os.closerange(3, 256)
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
";
    for threads in [1, 2] {
        let mut server = Site::of(app).server().set("threads", threads).start();
        let first = server.get("/").text();
        let _ = server.ask(&get("/close")).rest();
        server.eventually("another worker serves", || {
            let mut connection = server.ask(&get("/"));
            let (answer, _) = connection.rest();
            !answer.is_empty() && !answer.ends_with(first.as_bytes())
        });
        server.expect_log("");
        server.stop();
    }
}
