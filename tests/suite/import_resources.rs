//! Ports and locks that the import of the application takes: a reload passes them to the new generation.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::kit::load::load;
use crate::kit::server::send;
use crate::kit::*;

/// The application, and at its import `taking`, with `PORT`.
fn site(port: u16, taking: &str) -> Site {
    Site::of(&format!(
        "import fcntl, os, socket, threading, time\nimport uwsgi\nPORT = {port}\n{taking}\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             return [b'%d' % os.getpid()]\n"
    ))
}

/// An exporter that only the master starts; each of its connections gets the pid.
const EXPORTER: &str = "\
if uwsgi.masterpid() == os.getpid():
    exporter = socket.socket()
    exporter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    exporter.bind(('127.0.0.1', PORT))
    exporter.listen()
    def export():
        while True:
            client = exporter.accept()[0]
            client.sendall(b'%d' % os.getpid())
            client.close()
    threading.Thread(target=export, daemon=True).start()
";

fn launch(site: &Site) -> Launch {
    site.server()
        .set("processes", 2)
        .set("enable-threads", "true")
        .set("disable-logging", "true")
}

/// What the exporter sends, if it is there.
fn exported(port: u16) -> Option<i32> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.parse().ok()
}

/// The workers: the processes with threads without the one that exports.
fn workers(server: &Server, port: u16) -> Vec<i32> {
    let exporter = exported(port);
    let all = server.workers().into_iter();
    all.filter(|pid| Some(*pid) != exporter).collect()
}

/// Waits until there are two workers, none of them one of `old`.
#[track_caller]
fn wait_for_workers(server: &Server, port: u16, old: &[i32]) -> Vec<i32> {
    let mut now = Vec::new();
    server.eventually("two workers serve", || {
        now = workers(server, port);
        now.len() == 2 && now.iter().all(|pid| !old.contains(pid))
    });
    now
}

/// Reloads under load; no request may be lost.
#[track_caller]
fn reload(server: &Server, port: u16) {
    let old = wait_for_workers(server, port, &[]);
    let outcome = load(server, 2, "/", |answered| {
        server.signal(Signal::SIGHUP);
        wait_for_workers(server, port, &old);
        let so_far = answered.load(Ordering::Relaxed);
        server.eventually("requests are answered", || {
            answered.load(Ordering::Relaxed) > so_far
        });
    });
    assert!(under_uwsgi() || outcome.lost == 0, "{} lost", outcome.lost);
}

#[test]
fn an_exporter_that_the_import_starts_survives_reloads() {
    let port = free_port();
    let site = site(port, EXPORTER);
    let server = launch(&site).start();
    let mut before = exported(port).expect("the exporter is there");
    for reloads in 1..=2 {
        reload(&server, port);
        server.eventually("the exporter is there", || {
            // uWSGI's master keeps its pid
            exported(port).is_some_and(|pid| under_uwsgi() || pid != before)
        });
        before = exported(port).unwrap();
        if !under_uwsgi() {
            let line = format!("port 127.0.0.1:{port}; that zygote is ended");
            assert_eq!(server.log_lines(&line).len(), reloads, "{}", server.log());
        }
    }
    server.stop();
}

/// The import goes on without the port or the lock if another process has it.
#[test]
fn a_port_or_a_file_that_the_import_locks_passes_to_the_new_generation() {
    let port = free_port();
    // an address of its own: closed connections of an exporter may still have the port at 127.0.0.1
    let by_port = "lock = socket.socket()\nlock.bind(('127.0.0.2', PORT))\n";
    let by_file = "lock = open('lock', 'w')\nfcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n";
    for claim in [by_port, by_file] {
        let indented: String = claim.lines().map(|line| format!("    {line}\n")).collect();
        let site = site(
            port,
            &format!(
                "try:\n{indented}except OSError:\n    pass\n\
                 else:\n    open('owners', 'a').write('%d\\n' % os.getpid())\n"
            ),
        );
        let server = launch(&site).start();
        wait_for_workers(&server, port, &[]);
        for owners in 2..=3 {
            reload(&server, port);
            server.eventually("the new generation has it", || {
                server.site.read("owners").lines().count() == owners
            });
        }
        let owner = server
            .site
            .read("owners")
            .lines()
            .next_back()
            .map(str::to_owned);
        if !under_uwsgi() {
            let owner = owner.unwrap();
            server.eventually("the zygote has it", || {
                server.zygotes().iter().any(|pid| pid.to_string() == owner)
            });
        }
        if claim == by_port {
            assert!(
                TcpListener::bind(("127.0.0.2", port)).is_err(),
                "nobody has it"
            );
        }
        server.stop();
    }
}

#[test]
fn code_that_cannot_be_loaded_leaves_the_exporter_and_the_workers() {
    if differs(
        "A reload whose application cannot be loaded leaves what the import of the running one has started.",
    ) {
        return;
    }
    let port = free_port();
    let site = site(port, EXPORTER);
    let app = site.read("app.py");
    let mut server = launch(&site).start();
    let (running, before) = (wait_for_workers(&server, port, &[]), exported(port));
    // code that no other process can make work: the zygote stays
    for broken in ["def application(:\n", "{}['DATABASE_URL']\n"] {
        site.write("app.py", broken);
        assert!(
            !server
                .command(&["reload", "site", "--wait"])
                .status
                .success()
        );
        assert_eq!(
            (workers(&server, port), exported(port)),
            (running.clone(), before)
        );
    }
    // another process may be the cause
    site.write(
        "app.py",
        &app.replace(
            "def application",
            "raise RuntimeError('broken')\ndef application",
        ),
    );
    assert!(
        !server
            .command(&["reload", "site", "--wait"])
            .status
            .success()
    );
    assert_eq!(workers(&server, port), running);
    server.get("/").expect(200);
    // the zygote is started again, and loads what it finds
    site.write("app.py", &app);
    server.eventually("the exporter is there again", || exported(port).is_some());
    let output = server.command(&["reload", "site", "--wait"]);
    assert!(output.status.success(), "{output:?}");
    server.eventually("the exporter is there", || exported(port).is_some());
    server.expect_log("reload failed");
}

#[test]
fn the_exporter_is_started_again_when_its_process_dies() {
    if under_uwsgi() {
        return; // its master would have to die
    }
    let port = free_port();
    let site = site(port, EXPORTER);
    let mut server = launch(&site).start();
    wait_for_workers(&server, port, &[]);
    let before = exported(port).unwrap();
    send(before, Signal::SIGKILL);
    server.eventually("another one exports", || {
        exported(port).is_some_and(|pid| pid != before)
    });
    server.expect_log("the workers continue to serve");
}
