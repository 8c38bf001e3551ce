//! Commands of `master-fifo`: letters written to the FIFO.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use crate::kit::*;

fn server(options: &[(&str, &str)]) -> Server {
    let server = Site::with("processes").server().set_all(options).start();
    server.eventually("the fifo is there", || is_fifo(&server.site, "fifo"));
    server
}

fn is_fifo(site: &Site, name: &str) -> bool {
    fs::symlink_metadata(site.file(name)).is_ok_and(|it| it.file_type().is_fifo())
}

#[track_caller]
fn write(server: &Server, name: &str, letters: &str) {
    let mut fifo = fs::File::options()
        .write(true)
        .open(server.site.file(name))
        .unwrap();
    fifo.write_all(letters.as_bytes()).unwrap();
}

#[test]
fn letters_reload_gracefully_and_stop() {
    let mut server = server(&[("master-fifo", "fifo")]);
    let mode = fs::metadata(server.site.file("fifo"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    for letter in ["r\n", "r"] {
        let before = server.workers();
        write(&server, "fifo", letter);
        server.eventually("there is another worker", || {
            let workers = server.workers();
            workers.len() == 1 && workers != before
        });
        server.eventually("it answers", || serves(&server));
    }
    write(&server, "fifo", "q");
    server.wait_for_exit();
}

fn serves(server: &Server) -> bool {
    crate::kit::load::succeeds(server, "/pid")
}

#[test]
fn each_letter_is_executed_or_logged_as_unsupported() {
    if differs("An unknown or unsupported letter in master-fifo is logged.") {
        return;
    }
    let server = server(&[
        ("master-fifo", "fifo"),
        ("processes", "2"),
        ("pidfile", "the.pid"),
    ]);
    for (letter, line) in [
        (
            "L",
            "master-fifo: L is not supported; rename the log's file",
        ),
        ("l", "it is not a file of this instance"),
        (
            "E",
            "master-fifo: E is not supported; send SIGWINCH to the emperor",
        ),
        ("z", "master-fifo: z is unknown"),
        ("\u{1b}", "is unknown"),
        ("s", "generation 1: serving"),
    ] {
        write(&server, "fifo", letter);
        server.wait_for_log(line);
    }
    fs::remove_file(server.site.file("the.pid")).unwrap();
    write(&server, "fifo", "P");
    server.eventually("the pidfile is written", || {
        server.site.read("the.pid").trim() == server.master.to_string()
    });
    write(&server, "fifo", "w");
    server.wait_for_log("generation 2 serves");
    write(&server, "fifo", "c");
    server.wait_for_log("generation 3 serves");
    write(&server, "fifo", "-");
    server.wait_for_workers(1);
    write(&server, "fifo", "+");
    server.wait_for_workers(2);
    write(&server, "fifo", "+");
    server.wait_for_log("master-fifo: there can be at most 2 workers (processes)");
    let site = server.site.clone();
    server.stop();
    assert!(!site.has("fifo"));
}

#[test]
fn a_brutal_reload_and_a_brutal_stop_do_not_wait_for_requests() {
    if under_uwsgi() {
        return; // uWSGI's clients see the same one second later
    }
    let mut server = server(&[("master-fifo", "fifo")]);
    for letter in ["R", "Q"] {
        let _held = server.ask(&get("/hold?never"));
        server.eventually("the request is in the application", || {
            let held = server.site.read("held");
            held.lines().count() == if letter == "R" { 1 } else { 2 }
        });
        let before = server.workers();
        write(&server, "fifo", letter);
        if letter == "R" {
            server.eventually("there is another worker", || {
                let workers = server.workers();
                workers.len() == 1 && workers != before
            });
        }
    }
    assert!(server.wait_for_exit().unwrap().success());
    server.expect_log("generation 2 serves");
}

#[test]
fn connections_wait_during_a_pause() {
    if differs(
        "A pause (p in master-fifo) stops the workers after their requests and starts new ones at its end; uWSGI keeps the processes.",
    ) {
        return;
    }
    let server = server(&[("master-fifo", "fifo"), ("processes", "2")]);
    server.wait_for_log("ready: 2 workers");
    write(&server, "fifo", "p");
    server.wait_for_log("paused: the workers exit");
    server.wait_for_workers(0);
    let mut waiting = server.ask(&get("/pid"));
    // a reload keeps the pause
    write(&server, "fifo", "r");
    server.wait_for_log("generation 2 serves");
    assert!(server.workers().is_empty());
    write(&server, "fifo", "p");
    waiting.answer().expect(200);
    server.wait_for_workers(2);
    server.stop();
}

#[test]
fn the_log_is_reopened_after_a_rename() {
    let site = Site::of(
        "import sys\n\
         def application(environ, start_response):\n    \
             print('logged at', environ['PATH_INFO'], file=sys.stderr, flush=True)\n    \
             start_response('200 OK', [])\n    \
             return [b'x']\n",
    );
    let server = site
        .server()
        .set("master-fifo", "fifo")
        .set("touch-logreopen", "touched")
        .set("logto", "own.log")
        .start();
    server.eventually("the fifo is there", || is_fifo(&site, "fifo"));
    for (number, by) in ["fifo", "touch"].into_iter().enumerate() {
        let old = format!("old-{number}.log");
        let path = format!("/logged-{number}");
        fs::rename(site.file("own.log"), site.file(&old)).unwrap();
        match by {
            "fifo" => write(&server, "fifo", "l"),
            _ => site.write("touched", ""),
        }
        server.eventually("the file exists again", || site.has("own.log"));
        server.eventually("the application writes to it", || {
            server.get(&path);
            site.read("own.log").contains(&path)
        });
        // a worker forked later writes to the new file too
        let before = site.read(&old).len();
        server.signal(nix::sys::signal::Signal::SIGHUP);
        server.eventually("there is another generation", || {
            site.read("own.log").matches("spawned").count() > 0
                || site
                    .read("own.log")
                    .contains(&format!("generation {} serves", number + 2))
        });
        server.get("/after");
        server.eventually("it was written", || site.read("own.log").contains("/after"));
        assert_eq!(site.read(&old).len(), before);
    }
    server.stop();
}

#[test]
fn one_fifo_of_several_is_read_at_a_time() {
    let site = Site::with("processes");
    let launch = site
        .server()
        .set("master-fifo", "fifo")
        .set("master-fifo", "other");
    let server = launch.start();
    server.eventually("the first fifo exists", || is_fifo(&site, "fifo"));
    assert!(!site.has("other"));
    write(&server, "fifo", "1");
    server.eventually("the second fifo exists", || is_fifo(&site, "other"));
    let before = server.workers();
    write(&server, "other", "r");
    server.eventually("there is another worker", || {
        let workers = server.workers();
        workers.len() == 1 && workers != before
    });
    server.eventually("it answers", || serves(&server));
    server.stop();
}

#[test]
fn a_stale_fifo_is_replaced_and_another_file_is_kept() {
    if differs(
        "A file at the path of master-fifo that is no FIFO is kept and reported as an error.",
    ) {
        return;
    }
    let site = Site::with("processes");
    nix::unistd::mkfifo(&site.file("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let server = site.server().set("master-fifo", "fifo").start();
    write(&server, "fifo", "s");
    server.wait_for_log("generation 1: serving");
    server.stop();
    site.write("fifo", "precious");
    let refusal = site.server().set("master-fifo", "fifo").refused();
    assert!(
        refusal.log.contains("master-fifo = fifo") && refusal.log.contains("it is not replaced"),
        "{}",
        refusal.log
    );
    assert_eq!(site.read("fifo"), "precious");
}
