//! Heartbeats of vassals: `heartbeat` and `emperor-required-heartbeat`.

use nix::sys::signal::Signal;

use crate::kit::emperor::{Emperor, add_vassal, ini, site};
use crate::kit::server::send;
use crate::kit::*;

const SLEEPER: &str = "import time
def application(environ, start_response):
    time.sleep(8)
    start_response('200 OK', [])
    return [b'slept']
";

const SILENT: &str = "its master has sent no heartbeat for";

#[test]
fn a_frozen_master_is_replaced_and_one_with_a_busy_worker_is_not() {
    if differs(
        "A vassal's master sends the heartbeats, so that a busy worker is no reason to kill the vassal.",
    ) {
        return;
    }
    let site = site();
    for name in ["a", "b"] {
        add_vassal(&site, name, name);
        site.write(
            &format!("vassals/{name}.ini"),
            &(ini(&site, name) + "heartbeat = 1\n"),
        );
    }
    site.write("b.py", SLEEPER);
    let options = [
        "--emperor-required-heartbeat",
        "5",
        "--emperor-throttle",
        "10",
    ];
    let mut emperor = Emperor::with(&site, &options);
    emperor.expect_text("a", "a");
    let frozen = emperor.pid("a");
    // the only worker sleeps for longer than the required heartbeat
    emperor.expect_text("b", "slept");
    assert!(emperor.server.log_lines(SILENT).is_empty());
    send(frozen, Signal::SIGSTOP);
    emperor.server.expect_log(SILENT);
    // both vassals at the start, and one of them again
    emperor.server.wait_for_lines("ready after", 3);
    assert_ne!(emperor.pid("a"), frozen);
    emperor.expect_text("a", "a");
    assert_eq!(emperor.server.log_lines(SILENT).len(), 1);
    emperor.server.stop();
}

#[test]
fn a_vassal_without_a_heartbeat_is_not_restarted() {
    if under_uwsgi() {
        return;
    }
    let site = site();
    let with_heartbeat = |seconds: u32| ini(&site, "a") + &format!("heartbeat = {seconds}\n");
    add_vassal(&site, "a", "a");
    site.write("vassals/a.ini", &with_heartbeat(1));
    let emperor = Emperor::with(&site, &["--emperor-required-heartbeat", "5"]);
    emperor.expect_text("a", "a");
    // the first edit announces a heartbeat once an hour, the second one announces none
    for (reload, seconds) in [(1, 3600), (2, 0)] {
        site.write("vassals/a.ini", &with_heartbeat(seconds));
        emperor
            .server
            .wait_for_lines("vassal a.ini: reloaded", reload);
    }
    let before = emperor.pid("a");
    std::thread::sleep(std::time::Duration::from_secs(7));
    assert_eq!(emperor.pid("a"), before);
    emperor.expect_text("a", "a");
    emperor.server.stop();
}
