//! systemd: notifications (`sd_notify`) by masters and emperors.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::kit::emperor::{add_vassal, app, site};
use crate::kit::*;

/// The notification socket of a service manager.
struct Manager(UnixDatagram);

impl Manager {
    fn of(site: &Site) -> Self {
        let socket = UnixDatagram::bind(site.file("notify")).unwrap();
        let patience = Some(Duration::from_secs(20));
        socket.set_read_timeout(patience).unwrap();
        Self(socket)
    }

    /// Receives the next message.
    fn message(&self) -> String {
        let mut bytes = [0; 4096];
        let size = self.0.recv(&mut bytes).expect("a message for systemd");
        String::from_utf8_lossy(&bytes[..size]).into_owned()
    }

    /// Receives messages until one has this line, and returns it.
    fn expect_line(&self, line: &str) -> String {
        loop {
            let message = self.message();
            if message.lines().any(|it| it == line) {
                return message;
            }
        }
    }

    /// Whether an unread message has this line.
    fn has_line(&self, line: &str) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let mut bytes = [0; 4096];
        let mut found = false;
        while let Ok(size) = self.0.recv(&mut bytes) {
            found |= String::from_utf8_lossy(&bytes[..size])
                .lines()
                .any(|it| it == line);
        }
        self.0.set_nonblocking(false).unwrap();
        found
    }
}

#[test]
fn systemd_is_notified_of_readiness_and_stop() {
    let site = Site::with("hello");
    let manager = Manager::of(&site);
    let mut server = site
        .server()
        .envvar("NOTIFY_SOCKET", &site.at("notify"))
        .start();
    manager.expect_line("READY=1");
    server.get("/").expect_text("hello\n");
    if differs("STOPPING=1 is sent to systemd; uWSGI sends only READY=1.") {
        return;
    }
    server.signal(Signal::SIGTERM);
    manager.expect_line("STOPPING=1");
    assert!(server.wait_for_exit().unwrap().success());
}

#[test]
fn systemd_is_notified_after_the_application_is_loaded() {
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
        (0..10).all(|_| !manager.has_line("READY=1")),
        "it is not ready"
    );
    site.write("gate", "");
    manager.expect_line("READY=1");
    assert!(server.exited().is_none());
}

#[test]
fn a_master_sends_the_watchdog_notifications() {
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
        manager.expect_line("WATCHDOG=1");
    }
    server.get("/").expect_text("hello\n");
    server.stop();
}

#[test]
fn a_watchdog_for_another_process_is_ignored() {
    let site = Site::with("hello");
    let manager = Manager::of(&site);
    let server = site
        .server()
        .envvar("NOTIFY_SOCKET", &site.at("notify"))
        .envvar("WATCHDOG_USEC", "1000")
        .envvar("WATCHDOG_PID", "1")
        .start();
    manager.expect_line("READY=1");
    server.get("/").expect_text("hello\n");
    assert!(!manager.has_line("WATCHDOG=1"));
    server.stop();
}

#[test]
fn the_reload_of_an_emperor_ends_when_its_vassals_have_reloaded() {
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
    server.allow_any_exit();
    manager.expect_line("READY=1");
    let one_ready = "STATUS=1 vassal: 1 ready, 0 on demand, 0 starting, 0 failed, 0 stopped";
    add_vassal(&site, "a", "one");
    manager.expect_line(one_ready);
    // the import of the next generation waits for the file `gate`
    let gate = "import os, time\nopen('waits', 'w').close()\nwhile not os.path.exists('gate'):\n    time.sleep(0.005)\n";
    site.write("a.py", &format!("{gate}{}", app("two")));
    server.signal(Signal::SIGHUP);
    let message = manager.expect_line("RELOADING=1");
    assert!(message.contains("MONOTONIC_USEC="), "{message}");
    server.eventually("the new code is loaded", || site.has("waits"));
    manager.expect_line("WATCHDOG=1");
    assert!(!manager.has_line("READY=1"), "the reload is not over");
    site.write("gate", "");
    let message = manager.expect_line("READY=1");
    assert!(message.contains(one_ready), "{message}");
    server.stop();
}
