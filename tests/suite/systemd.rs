//! systemd: notifications (`sd_notify`) by masters and emperors.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::kit::emperor::{app, drop_in, site};
use crate::kit::*;

/// The socket on which a service manager listens.
struct Manager(UnixDatagram);

impl Manager {
    fn of(site: &Site) -> Self {
        let socket = UnixDatagram::bind(site.file("notify")).unwrap();
        let patience = Some(Duration::from_secs(20));
        socket.set_read_timeout(patience).unwrap();
        Self(socket)
    }

    /// The next message.
    fn message(&self) -> String {
        let mut bytes = [0; 4096];
        let size = self.0.recv(&mut bytes).expect("a message for systemd");
        String::from_utf8_lossy(&bytes[..size]).into_owned()
    }

    /// Waits for a message with this line, and returns it.
    fn hears(&self, line: &str) -> String {
        loop {
            let message = self.message();
            if message.lines().any(|it| it == line) {
                return message;
            }
        }
    }

    /// Whether a message with this line has arrived that was not read yet.
    fn has_heard(&self, line: &str) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let mut bytes = [0; 4096];
        let mut heard = false;
        while let Ok(size) = self.0.recv(&mut bytes) {
            heard |= String::from_utf8_lossy(&bytes[..size])
                .lines()
                .any(|it| it == line);
        }
        self.0.set_nonblocking(false).unwrap();
        heard
    }
}

#[test]
fn systemd_is_told_of_readiness_and_stop() {
    let site = Site::with("hello");
    let manager = Manager::of(&site);
    let mut server = site
        .server()
        .envvar("NOTIFY_SOCKET", &site.at("notify"))
        .start();
    manager.hears("READY=1");
    server.get("/").says("hello\n");
    if differs("STOPPING=1 is sent to systemd; uWSGI sends only READY=1.") {
        return;
    }
    server.signal(Signal::SIGTERM);
    manager.hears("STOPPING=1");
    assert!(server.wait_for_exit().unwrap().success());
}

#[test]
fn systemd_is_not_told_of_readiness_before_the_application_is_there() {
    if differs(
        "READY=1 is sent to systemd when workers accept connections; uWSGI sends it before they are forked.",
    ) {
        return;
    }
    let gate = "import os, time\nwhile not os.path.exists('gate'):\n    time.sleep(0.005)\n";
    let site = Site::of(&format!("{gate}{}", include_str!("../apps/hello/app.py")));
    let manager = Manager::of(&site);
    let mut server = site
        .server()
        .envvar("NOTIFY_SOCKET", &site.at("notify"))
        .spawn();
    server.eventually("the socket is bound", || site.has("app.sock"));
    assert!(
        (0..10).all(|_| !manager.has_heard("READY=1")),
        "it is not ready"
    );
    site.write("gate", "");
    manager.hears("READY=1");
    assert!(server.exited().is_none());
}

#[test]
fn systemd_hears_from_a_master_as_often_as_it_asks_for() {
    if differs("systemd's watchdog (WatchdogSec=) is supported by masters and emperors.") {
        return;
    }
    let site = Site::with("hello");
    let manager = Manager::of(&site);
    let server = site
        .server()
        .envvar("NOTIFY_SOCKET", &site.at("notify"))
        .envvar("WATCHDOG_USEC", "100000")
        .start();
    for _ in 0..5 {
        manager.hears("WATCHDOG=1");
    }
    server.get("/").says("hello\n");
    server.stop();
}

#[test]
fn systemd_hears_nothing_that_was_asked_of_another_process() {
    let site = Site::with("hello");
    let manager = Manager::of(&site);
    let server = site
        .server()
        .envvar("NOTIFY_SOCKET", &site.at("notify"))
        .envvar("WATCHDOG_USEC", "1000")
        .envvar("WATCHDOG_PID", "1")
        .start();
    manager.hears("READY=1");
    server.get("/").says("hello\n");
    assert!(!manager.has_heard("WATCHDOG=1"));
    server.stop();
}

#[test]
fn an_emperors_reload_is_over_when_its_vassals_have_reloaded() {
    if differs(
        "RELOADING=1 and the end of the reload are sent to systemd, by masters and emperors.",
    ) {
        return;
    }
    let site = site();
    let manager = Manager::of(&site);
    let mut server = site
        .server()
        .only(&[
            "--emperor",
            "vassals",
            "--emperor-control",
            &site.at("control"),
        ])
        .envvar("NOTIFY_SOCKET", &site.at("notify"))
        .envvar("WATCHDOG_USEC", "100000")
        .spawn();
    server.ends_otherwise();
    manager.hears("READY=1");
    let one_ready = "STATUS=1 vassal: 1 ready, 0 on demand, 0 starting, 0 failed, 0 stopped";
    drop_in(&site, "a", "one");
    manager.hears(one_ready);
    // the next generation waits for the gate
    let gate = "import os, time\nopen('waits', 'w').close()\nwhile not os.path.exists('gate'):\n    time.sleep(0.005)\n";
    site.write("a.py", &format!("{gate}{}", app("two")));
    server.signal(Signal::SIGHUP);
    let message = manager.hears("RELOADING=1");
    assert!(message.contains("MONOTONIC_USEC="), "{message}");
    server.eventually("the new code is loaded", || site.has("waits"));
    manager.hears("WATCHDOG=1");
    assert!(!manager.has_heard("READY=1"), "the reload is not over");
    site.write("gate", "");
    let message = manager.hears("READY=1");
    assert!(message.contains(one_ready), "{message}");
    server.stop();
}
