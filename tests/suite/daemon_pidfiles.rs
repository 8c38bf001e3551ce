//! Services with a pidfile: `smart-attach-daemon` and its variants.

use std::fs;

use nix::sys::signal::Signal;

use crate::kit::*;

use super::daemons::{kill, pids, sleeper, wait_for_end, wait_for_pid};

/// Kills a process that the server does not own when its test ends.
struct KillOnDrop(i32);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.0), Signal::SIGKILL);
        wait::within(wait::DEADLINE, || {
            let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(self.0), None);
            !proc::is_running(self.0)
        });
    }
}

#[test]
fn a_service_with_a_pidfile_outlives_reloads_and_the_instance() {
    let site = Site::with("generation");
    let pidfile = site.at("daemon.pid");
    // the program becomes a background process and writes its pidfile
    let command =
        format!("setsid sleep 1000 > /dev/null 2>&1 & echo $! > {pidfile}; echo $! >> ids");
    let server = site
        .server()
        .set(
            "attach-daemon2",
            format!("cmd={command},pidfile={pidfile},freq=1"),
        )
        .start();
    let pid = wait_for_pid(&server, "ids", 1);
    let _service = KillOnDrop(pid);
    let before = server.get("/").text();
    server.signal(Signal::SIGHUP);
    server.eventually("the next generation answers", || {
        server.get("/").text() != before
    });
    server.stop();
    assert!(proc::is_running(pid));
    // the next instance adopts the process
    let server = site
        .server()
        .set(
            "attach-daemon2",
            format!("cmd={command},pidfile={pidfile},freq=1"),
        )
        .start();
    if !under_uwsgi() {
        server.wait_for_log(&format!("(pid {pid}): already running"));
    }
    assert_eq!(pids(&site, "ids"), [pid]);
    if differs(
        "A service that was found running by its pidfile is started when that process exits.",
    ) {
        return;
    }
    // it starts the program again after the process has ended
    kill(pid);
    let next = wait_for_pid(&server, "ids", 2);
    let _next = KillOnDrop(next);
    assert!(proc::is_running(next));
    server.stop();
}

#[test]
fn a_stale_pidfile_of_another_process_is_ignored() {
    if differs(
        "A service's pidfile that is older than the process with its number is ignored; uWSGI takes any process with that number for the service.",
    ) {
        return;
    }
    let site = Site::with("hello");
    let mut unrelated = std::process::Command::new("tail")
        .args(["-f", "/dev/null"])
        .spawn()
        .unwrap();
    let _unrelated = KillOnDrop(i32::try_from(unrelated.id()).unwrap());
    let pidfile = site.at("daemon.pid");
    site.write("daemon.pid", &format!("{}\n", unrelated.id()));
    let file = fs::File::options().append(true).open(&pidfile).unwrap();
    let before = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    file.set_modified(before).unwrap();
    let value = format!("{pidfile} {}", sleeper("ids"));
    let server = site.server().set("smart-attach-daemon2", value).start();
    let pid = wait_for_pid(&server, "ids", 1);
    let _service = KillOnDrop(pid);
    server.wait_for_log("started after the file was written");
    server.eventually("the pidfile has its id", || {
        pids(&site, "daemon.pid") == [pid]
    });
    server.stop();
    assert!(unrelated.try_wait().unwrap().is_none());
}

#[test]
fn the_master_writes_the_pidfile_of_a_foreground_command() {
    let site = Site::with("hello");
    let value = format!("{} {}", site.at("daemon.pid"), sleeper("ids"));
    let server = site.server().set("smart-attach-daemon2", value).start();
    let pid = wait_for_pid(&server, "ids", 1);
    let _service = KillOnDrop(pid);
    if differs("smart-attach-daemon2 writes the pidfile of its command.") {
        return;
    }
    server.eventually("the pidfile is there", || {
        pids(&site, "daemon.pid") == [pid]
    });
    server.stop();
    assert!(proc::is_running(pid));
}

#[test]
fn notifypid_signals_a_service_on_reload() {
    let site = Site::with("hello");
    let command = "trap 'echo reloaded >> output' HUP; echo $$ >> ids; while :; do sleep 0.1; done";
    let value = format!(
        "cmd={command},pidfile={},notifypid=1,daemonize=1",
        site.at("daemon.pid")
    );
    if under_uwsgi() {
        return;
    }
    let mut server = site.server().set("attach-daemon2", value).start();
    let pid = wait_for_pid(&server, "ids", 1);
    let _service = KillOnDrop(pid);
    server.signal(Signal::SIGHUP);
    server.eventually("it received SIGHUP", || site.read("output") == "reloaded\n");
    assert!(proc::is_running(pid));
    server.signal(Signal::SIGTERM);
    wait_for_end(&server, pid);
    assert!(server.wait_for_exit().unwrap().success());
}
