//! Daemons: `daemonize`, pidfiles, `--stop` and `--reload`, log files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::kit::*;

/// Starts a daemon with the log `daemon.log` and the pidfile `pid`, and waits until it responds.
fn daemon(site: &Site, option: &str) -> Server {
    let launch = site
        .server()
        .set(option, site.at("daemon.log"))
        .set("safe-pidfile", site.at("pid"));
    let mut server = launch.logging_to("daemon.log").spawn();
    let status = server.wait_for_exit().unwrap();
    assert!(status.success(), "{status}: {}", server.log());
    server.eventually("the pidfile is there", || site.read("pid").ends_with('\n'));
    server.adopt_daemon(site.read("pid").trim().parse().unwrap());
    server.eventually("it answers", || {
        server.connect().put(&[100, 0, 0, 0]).rest().0.len() == 4
    });
    server
}

#[test]
fn a_daemon_outlives_its_parent_and_logs_to_its_file() {
    for option in ["daemonize", "daemonize2"] {
        let site = Site::with("hello");
        let server = daemon(&site, option);
        server.get("/x").expect_text("hello\n");
        server.eventually("the request is in the file", || {
            site.read("daemon.log").contains("GET /x")
        });
        let master = proc::process(server.master).unwrap();
        assert_eq!(
            fs::read_link(format!("/proc/{}/fd/0", master.pid)).unwrap(),
            Path::new("/dev/null")
        );
        assert_ne!(master.session, std::process::id().cast_signed());
        let mode = fs::metadata(site.file("daemon.log"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o007, 0, "{option}: {mode:o}");
    }
}

#[test]
fn daemonize2_fails_if_the_application_cannot_be_loaded() {
    let site = Site::of("raise RuntimeError('my own words')\n");
    let launch = site
        .server()
        .set("daemonize2", site.at("daemon.log"))
        .logging_to("daemon.log");
    let refusal = launch.refused();
    assert!(
        refusal.code.is_some_and(|code| code != 0),
        "{:?}",
        refusal.code
    );
    assert!(refusal.log.contains("my own words"), "{}", refusal.log);
}

#[test]
fn a_daemon_closes_the_output_of_its_parent() {
    let site = Site::with("hello");
    let server = daemon(&site, "daemonize");
    for pid in server.processes().iter().map(|process| process.pid) {
        for fd in [1, 2] {
            let target = fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap();
            assert!(
                !target.to_string_lossy().starts_with("pipe:"),
                "{pid} writes to {}",
                target.display()
            );
        }
    }
}

#[test]
fn pidfiles_hold_the_masters_id() {
    for option in ["pidfile", "pidfile2", "safe-pidfile", "safe-pidfile2"] {
        let site = Site::with("hello");
        let server = site.server().set(option, site.at("pid")).start();
        let expected = format!("{}\n", server.master);
        server.eventually("the pidfile is there", || site.read("pid") == expected);
        server.signal(Signal::SIGHUP);
        server.get("/").expect_text("hello\n");
        assert_eq!(site.read("pid"), expected);
        server.stop();
        assert!(!site.has("pid"), "{option} is removed");
    }
}

#[test]
fn a_pidfile_that_cannot_be_written_is_refused() {
    let refusal = Site::with("hello")
        .server()
        .set("pidfile", "/nowhere/pid")
        .refused();
    assert_eq!(refusal.code, Some(1), "{}", refusal.log);
    assert!(refusal.log.contains("/nowhere/pid"), "{}", refusal.log);
}

#[test]
fn stop_stops_the_process_of_a_pidfile() {
    let site = Site::with("hello");
    let mut server = site.server().set("pidfile", site.at("pid")).start();
    server.get("/").expect_text("hello\n");
    assert!(site.command(&["--stop", &site.at("pid")]).status.success());
    assert!(server.wait_for_exit().unwrap().success());
}

#[test]
fn reload_reloads_the_process_of_a_pidfile() {
    let site = Site::with("generation");
    let mut server = site.server().set("pidfile", site.at("pid")).start();
    if under_uwsgi() {
        server.allow_socket_file();
    }
    let first = server.get("/").text();
    assert!(
        site.command(&["--reload", &site.at("pid")])
            .status
            .success()
    );
    server.eventually("the new generation answers", || {
        server.get("/").text() != first
    });
}

#[test]
fn stop_fails_without_a_process() {
    let site = Site::empty();
    let output = site.command(&["--stop", &site.at("nosuch")]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    site.write("pid", &format!("{}\n", gone.id()));
    let output = site.command(&["--stop", &site.at("pid")]);
    assert!(!output.status.success());
    let printed = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    if !under_uwsgi() {
        assert!(printed.contains(&gone.id().to_string()), "{printed}");
    }
}

#[test]
fn stop_and_reload_signal_no_other_program() {
    if differs("--stop and --reload signal only a running ruwsgi; uWSGI signals any process.") {
        return;
    }
    let site = Site::empty();
    let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
    site.write("pid", &format!("{}\n", other.id()));
    for words in [&["--stop"][..], &["--reload"], &["stop"], &["reload"]] {
        let output = site.command(&[words, &[&site.at("pid")]].concat());
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {printed}");
        assert!(printed.contains("it is not ruwsgi but /"), "{printed}");
    }
    assert!(other.try_wait().unwrap().is_none(), "it got a signal");
    other.kill().unwrap();
    other.wait().unwrap();
    nix::unistd::mkfifo(&site.file("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let output = site.command(&["--stop", &site.at("fifo")]);
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(printed.contains("is not a plain file"), "{printed}");
}

#[test]
fn stop_stops_a_process_whose_program_was_replaced() {
    if under_uwsgi() {
        return; // it signals any process
    }
    let site = Site::with("hello");
    let launch = site.server().set("pidfile", site.at("pid"));
    let module = binary().parent().unwrap().join("lib_ruwsgi.so");
    let launch = launch.envvar("RUWSGI_MODULE", module.to_str().unwrap());
    let copied = "cp \"$1\" server && shift && exec ./server \"$@\"";
    let mut server = launch.under(&["sh", "-c", copied, "sh"]).start();
    fs::remove_file(site.file("server")).unwrap();
    let output = site.command(&["--stop", &site.at("pid")]);
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(printed.contains("it is not ruwsgi but"), "{printed}");
    server.get("/").expect_text("hello\n");
    server.stop();

    let copied = "cp \"$1\" ruwsgi && shift && exec ./ruwsgi \"$@\"";
    let launch = site.server().set("pidfile", site.at("pid"));
    let launch = launch.envvar("RUWSGI_MODULE", module.to_str().unwrap());
    server = launch.under(&["sh", "-c", copied, "sh"]).start();
    fs::remove_file(site.file("ruwsgi")).unwrap();
    let output = site.command(&["--stop", &site.at("pid")]);
    assert!(output.status.success(), "{output:?}");
    assert!(server.wait_for_exit().unwrap().success());
}

#[test]
fn the_log_goes_to_a_file() {
    for option in ["logto", "logto2"] {
        let site = Site::with("hello");
        site.write("my.log", "an earlier line\n");
        let server = site
            .server()
            .set(option, site.at("my.log"))
            .logging_to("my.log")
            .start();
        server.get("/x").expect_text("hello\n");
        server.eventually("the request is in the file", || {
            site.read("my.log").contains("GET /x")
        });
        assert!(
            site.read("my.log").starts_with("an earlier line\n"),
            "the file is appended to"
        );
    }
}

#[test]
fn limit_as_limits_the_memory_of_the_application() {
    let site = Site::of(
        "def application(environ, start_response):\n    \
             try:\n        \
                 block = bytearray(1 << 30)\n        \
                 answer = b'got it'\n    \
             except MemoryError:\n        \
                 answer = b'refused'\n    \
             start_response('200 OK', [])\n    \
             return [answer]\n",
    );
    site.server()
        .set("limit-as", 512)
        .start()
        .get("/")
        .expect_text("refused");
    site.server().start().get("/").expect_text("got it");
}

#[test]
fn max_fd_limits_the_descriptors_of_every_process() {
    let server = Site::with("hello").server().set("max-fd", 777).start();
    let limits = |pid: i32| fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    for pid in [server.master, server.wait_for_workers(1)[0]] {
        let limits = limits(pid);
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max open files"));
        let soft = line.and_then(|line| line.split_whitespace().nth(3));
        assert_eq!(soft, Some("777"), "{limits}");
    }
}
