//! Services: `attach-daemon` and its variants.

use std::fs;

use nix::sys::signal::Signal;

use crate::kit::*;

/// A command that appends its process id to a file of the site and then sleeps.
pub fn sleeper(file: &str) -> String {
    format!("echo $$ >> {file}; exec sleep 1000")
}

/// The process ids that commands have appended to a file.
pub fn pids(site: &Site, file: &str) -> Vec<i32> {
    let text = site.read(file);
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Waits until a file has `count` process ids, and returns the last one.
#[track_caller]
pub fn wait_for_pid(server: &Server, file: &str, count: usize) -> i32 {
    server.eventually(&format!("{file} has {count} ids"), || {
        pids(&server.site, file).len() >= count
    });
    pids(&server.site, file)[count - 1]
}

#[track_caller]
pub fn wait_for_end(server: &Server, pid: i32) {
    server.eventually(&format!("process {pid} is gone"), || !proc::is_running(pid));
}

#[test]
fn a_service_runs_beside_the_workers_and_stops_with_the_instance() {
    let site = Site::with("hello");
    let server = site.server().set("attach-daemon", sleeper("ids")).start();
    let pid = wait_for_pid(&server, "ids", 1);
    server.get("/").expect_text("hello\n");
    assert!(proc::is_running(pid));
    server.stop();
    assert!(!proc::is_running(pid));
}

#[test]
fn a_service_has_the_environment_of_the_application_and_inherits_no_descriptor() {
    if differs(
        "A service (attach-daemon) inherits no listening socket, no limit-as and no ignored or blocked signal; uWSGI's services inherit the master's.",
    ) {
        return;
    }
    let site = Site::with("hello");
    let server = site
        .server()
        .set("env", "COLOUR=green")
        .set("limit-as", 4096)
        .set("attach-daemon", sleeper("ids"))
        .start();
    let pid = wait_for_pid(&server, "ids", 1);
    server.eventually("it is the command itself", || {
        proc::command_line(pid).starts_with("sleep")
    });
    let link = |what: &str| fs::read_link(format!("/proc/{pid}/{what}")).unwrap();
    assert_eq!(link("cwd"), site.path().canonicalize().unwrap());
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    assert!(environment.contains("COLOUR=green"), "{environment}");
    // the dynamic loader may still have files open
    server.eventually("it has stdin, stdout and stderr only", || {
        proc::descriptors(pid) == 3
    });
    assert_eq!(link("fd/0").to_str(), Some("/dev/null"));
    for set in ["SigBlk", "SigIgn", "SigCgt"] {
        // the C library uses the signals 32 and 33
        let signals = u64::from_str_radix(&proc::status(pid, set), 16).unwrap();
        assert_eq!(signals & !(0b11 << 31), 0, "{set}: {signals:x}");
    }
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let memory = limits
        .lines()
        .find(|line| line.starts_with("Max address space"));
    assert!(
        memory.is_some_and(|line| line.contains("unlimited")),
        "{limits}"
    );
}

#[test]
fn the_output_of_a_service_is_logged_with_its_name() {
    if differs(
        "Output of services, cron commands and hooks is logged under their names; uWSGI logs it without a name.",
    ) {
        return;
    }
    let command = r"printf 'first\nsecond \033[1mbold\n' >&2; printf unfinished; exec sleep 1000";
    let server = Site::with("hello")
        .server()
        .set(
            "attach-daemon2",
            format!("cmd={},name=queue", command.replace(',', "\\,")),
        )
        .start();
    server.wait_for_log("second");
    for text in ["first", r"second \x1b[1mbold"] {
        let lines = server.log_lines(text);
        assert!(
            lines.iter().any(|line| line.contains("[info] queue[")),
            "{lines:?}"
        );
    }
    let log = server.log();
    server.stop();
    assert!(!log.contains("unfinished"), "{log}");
}

#[test]
fn an_endless_line_is_split() {
    if differs(
        "Output of services, cron commands and hooks is logged under their names; uWSGI logs it without a name.",
    ) {
        return;
    }
    let command = "head -c 100000 /dev/zero | tr '\\0' x; echo; echo behind it; exec sleep 1000";
    let server = Site::with("hello")
        .server()
        .set("attach-daemon", command)
        .start();
    server.wait_for_log("behind it");
    let pieces = server.log_lines("xxxxxxxxxx");
    assert_eq!(pieces.len(), 13);
    assert!(pieces.iter().all(|line| line.len() < 9000));
}

#[test]
fn a_service_that_exits_is_restarted() {
    let site = Site::with("hello");
    let server = site.server().set("attach-daemon", sleeper("ids")).start();
    let first = wait_for_pid(&server, "ids", 1);
    kill(first);
    let second = wait_for_pid(&server, "ids", 2);
    assert!(proc::is_running(second));
    server.get("/").expect_text("hello\n");
}

pub fn kill(pid: i32) {
    server::send(pid, Signal::SIGKILL);
}

#[test]
fn a_service_that_exits_at_once_is_restarted_with_growing_delays() {
    if differs(
        "A service that keeps exiting is restarted with a growing delay of up to 30 s; uWSGI restarts it after one second.",
    ) {
        return;
    }
    let site = Site::with("hello");
    let server = site
        .server()
        .set("attach-daemon", "echo x >> starts; exit 3")
        .start();
    server.wait_for_log("exited with status 3");
    server.wait_for_log("restarting in 0.8 s");
    let starts = site.read("starts").lines().count();
    assert!(
        (4..=6).contains(&starts),
        "{starts} starts:\n{}",
        server.log()
    );
    server.get("/").expect_text("hello\n");
}

#[test]
fn a_service_that_becomes_a_daemon_is_explained_in_the_log() {
    if differs("The log says when a service has put itself into the background.") {
        return;
    }
    let server = Site::with("hello")
        .server()
        .set("attach-daemon", "true")
        .start();
    server.wait_for_log("a service must stay in the foreground");
}

#[test]
fn left_over_processes_of_a_service_end_before_its_restart() {
    if differs(
        "Remaining processes of a service's process group are killed before the service is restarted.",
    ) {
        return;
    }
    let site = Site::with("hello");
    let command = "sleep 1000 & echo $! >> children; echo $$ >> ids; wait";
    let server = site.server().set("attach-daemon", command).start();
    let first = wait_for_pid(&server, "ids", 1);
    let child = wait_for_pid(&server, "children", 1);
    kill(first);
    wait_for_pid(&server, "ids", 2);
    wait_for_end(&server, child);
}

#[test]
fn a_reload_restarts_services() {
    let site = Site::with("generation");
    let command =
        "trap 'echo reloading > output; exit 0' USR1; echo $$ >> ids; while :; do sleep 0.1; done";
    let server = site
        .server()
        .set("attach-daemon2", format!("cmd={command},reloadsignal=10"))
        .start();
    let first = wait_for_pid(&server, "ids", 1);
    server.signal(Signal::SIGHUP);
    let second = wait_for_pid(&server, "ids", 2);
    assert_ne!(first, second);
    wait_for_end(&server, first);
    assert_eq!(site.read("output"), "reloading\n");
}

#[test]
fn a_failed_reload_keeps_services() {
    if differs("A failed reload does not restart services.") {
        return;
    }
    let site = Site::with("hello");
    let mut server = site.server().set("attach-daemon", sleeper("ids")).start();
    let pid = wait_for_pid(&server, "ids", 1);
    site.write("app.py", "raise RuntimeError('my own words')\n");
    server.signal(Signal::SIGHUP);
    server.expect_log("reload failed");
    assert!(proc::is_running(pid));
    assert_eq!(pids(&site, "ids").len(), 1);
}

#[test]
fn a_reload_applies_changes_of_services() {
    if under_uwsgi() {
        return;
    }
    let site = Site::with("hello");
    let server = site.server().set("attach-daemon", sleeper("old")).start();
    let old = wait_for_pid(&server, "old", 1);
    let ini = site.read("site.ini");
    site.write("site.ini", &ini.replace(">> old", ">> new"));
    server.signal(Signal::SIGHUP);
    wait_for_pid(&server, "new", 1);
    wait_for_end(&server, old);
    site.write(
        "site.ini",
        &ini.lines()
            .filter(|line| !line.starts_with("attach-daemon"))
            .collect::<Vec<_>>()
            .join("\n"),
    );
    let new = wait_for_pid(&server, "new", 1);
    server.signal(Signal::SIGHUP);
    wait_for_end(&server, new);
}

#[test]
fn a_changed_service_starts_after_the_old_one_has_ended() {
    if under_uwsgi() {
        return;
    }
    let site = Site::with("hello");
    // like a daemon that holds a port: it ends when the test allows it, and a second one fails while the first runs
    let command = "test -e port && exit 1; echo > port; trap 'while ! test -e go; do sleep 0.05; done; rm port; exit' TERM; \
                   echo $$ >> ids; while :; do sleep 0.05; done";
    let server = site.server().set("attach-daemon", command).start();
    let old = wait_for_pid(&server, "ids", 1);
    let ini = site.read("site.ini");
    site.write(
        "site.ini",
        &ini.replace("sleep 0.05; done\n", "sleep 0.06; done\n"),
    );
    server.signal(Signal::SIGHUP);
    server.wait_for_log("stopping with SIGTERM");
    site.write("go", "");
    wait_for_pid(&server, "ids", 2);
    wait_for_end(&server, old);
    assert!(
        server.log_lines("exited with status 1 ").is_empty(),
        "{}",
        server.log()
    );
}

#[test]
fn a_touched_file_restarts_a_service() {
    let site = Site::with("hello");
    site.write("touched", "1");
    let value = format!("cmd={},touch={}", sleeper("ids"), site.at("touched"));
    let server = site.server().set("attach-daemon2", value).start();
    let first = wait_for_pid(&server, "ids", 1);
    if under_uwsgi() {
        // uWSGI compares modification times in whole seconds
        return;
    }
    site.write("touched", "2");
    wait_for_pid(&server, "ids", 2);
    wait_for_end(&server, first);
}

#[test]
fn a_service_can_run_as_another_user() {
    if needs_root() || under_uwsgi() {
        return;
    }
    let command = "echo I am $(id -un):$(id -gn) of $(id -G); exec sleep 1000";
    let server = Site::with("hello")
        .server()
        .set(
            "attach-daemon2",
            format!("cmd={command},uid=nobody,chdir=/tmp"),
        )
        .start();
    server.wait_for_log("I am nobody:nogroup of");
    let lines = server.log_lines("I am nobody:nogroup of");
    assert!(
        !lines[0].ends_with(" 0") && !lines[0].contains(" 0 "),
        "{lines:?}"
    );
}

#[test]
fn another_user_for_a_service_needs_root() {
    if needs_root() || under_uwsgi() {
        return;
    }
    let site = Site::with("hello");
    let refusal = site
        .server()
        .set("uid", "www-data")
        .set("socket", "127.0.0.1:0")
        .set("attach-daemon2", "cmd=sleep 1000,uid=nobody")
        .refused();
    assert_eq!(refusal.code, Some(1), "{}", refusal.log);
    let sentence = "service sleep cannot be started: uid and gid of a service require a master that runs as root";
    assert!(refusal.log.contains(sentence), "{}", refusal.log);
}

#[test]
fn an_unknown_key_is_refused() {
    if differs("An unknown key of attach-daemon2 or cron2 is refused; uWSGI ignores it.") {
        return;
    }
    let refusal = Site::with("hello")
        .server()
        .set("attach-daemon2", "cmd=sleep 1000,ns_pid=1")
        .refused();
    assert_eq!(refusal.code, Some(1));
    assert!(refusal.log.contains("ns_pid"), "{}", refusal.log);
}

#[test]
fn services_leave_no_descriptor_in_the_master() {
    if under_uwsgi() {
        return;
    }
    let site = Site::with("hello");
    let server = site.server().set("attach-daemon", sleeper("ids")).start();
    let mut last = wait_for_pid(&server, "ids", 1);
    server.wait_for_log("service echo (pid ");
    let (before, workers) = server.descriptors();
    assert_eq!(workers.len(), 1);
    for round in 2..6 {
        kill(last);
        last = wait_for_pid(&server, "ids", round);
    }
    server.eventually("the master has as many descriptors as before", || {
        server.descriptors().0 == before
    });
    let without = Site::with("hello").server().start();
    server.eventually("no worker has its descriptor", || {
        server.descriptors().1 == without.descriptors().1
    });
}

#[test]
fn an_instance_with_services_only_has_no_interpreter() {
    if under_uwsgi() {
        return;
    }
    let site = Site::empty();
    site.write(
        "site.ini",
        "[uwsgi]\nattach-daemon = echo begun; exec sleep 600\n",
    );
    let server = site.server().only(&["--ini", "site.ini"]).spawn();
    server.wait_for_log("begun");
    let has_zygote = || {
        let mut children = server.zygotes().into_iter();
        children.any(|pid| proc::command_line(pid).contains("zygote"))
    };
    assert!(!has_zygote() && server.workers().is_empty());
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.wait_for_log("reloaded: generation 2 serves");
    assert!(!has_zygote());
    server.stop();
}
