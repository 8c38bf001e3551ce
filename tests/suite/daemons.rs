//! Services: `attach-daemon` and its variants.

use std::fs;

use nix::sys::signal::Signal;

use crate::kit::*;

/// A command that appends its process id to a file of the site and then sleeps.
fn sleeper(file: &str) -> String {
    format!("echo $$ >> {file}; exec sleep 1000")
}

/// The process ids that commands have appended to a file.
fn pids(site: &Site, file: &str) -> Vec<i32> {
    let text = site.read(file);
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Waits until a file has `count` process ids, and returns the last one.
#[track_caller]
fn wait_for_pid(server: &Server, file: &str, count: usize) -> i32 {
    server.eventually(&format!("{file} has {count} ids"), || {
        pids(&server.site, file).len() >= count
    });
    pids(&server.site, file)[count - 1]
}

#[track_caller]
fn wait_for_end(server: &Server, pid: i32) {
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

fn kill(pid: i32) {
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
fn a_service_is_stopped_with_its_configured_signal() {
    let site = Site::with("hello");
    let command =
        "trap 'echo bye > output; exit 0' INT; echo $$ > ids; while :; do sleep 0.1; done";
    let server = site
        .server()
        .set("attach-daemon2", format!("cmd={command},stopsignal=2"))
        .start();
    wait_for_pid(&server, "ids", 1);
    server.stop();
    assert_eq!(site.read("output"), "bye\n");
}

/// A program that waits for its busy child when it receives a stop signal, as Celery does.
const PARENT: &str = r#"
import os, signal, sys, time
child = os.fork()
if child == 0:
    open("works", "w").close()
    while not os.path.exists("stopping"):
        time.sleep(0.01)
    time.sleep(0.3)
    open("finished", "w").close()
    os._exit(0)
def stop(*_):
    open("stopping", "w").close()
    os.waitpid(child, 0)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
open("ready", "w").close()
while True:
    time.sleep(1)
"#;

#[test]
fn a_service_may_wait_for_its_children_when_it_stops() {
    if differs(
        "The stop signal goes only to the service's main process, which can wait for its children; uWSGI signals the whole process group, so that a Celery worker loses its tasks.",
    ) {
        return;
    }
    let site = Site::with("hello");
    site.write("parent.py", PARENT);
    let python = system_python();
    let server = site
        .server()
        .set("attach-daemon", format!("{} parent.py", python.display()))
        .start();
    server.eventually("both run", || site.has("works") && site.has("ready"));
    server.stop();
    assert!(site.has("finished"));
}

#[test]
fn children_of_an_exited_shell_may_finish() {
    if differs(
        "A service counts as stopped when its whole process group has exited; uWSGI waits only for the first process.",
    ) {
        return;
    }
    let site = Site::with("hello");
    let slow = "import signal, sys, time\n\
        def stop(*_):\n    \
            time.sleep(0.3)\n    \
            open('finished', 'w').close()\n    \
            sys.exit(0)\n\
        signal.signal(signal.SIGTERM, stop)\n\
        open('ready', 'w').close()\n\
        while True:\n    \
            time.sleep(1)\n";
    site.write("slow.py", slow);
    let python = system_python();
    let mut server = site
        .server()
        .set(
            "attach-daemon",
            format!("cd . && {} slow.py", python.display()),
        )
        .start();
    server.eventually("it runs", || site.has("ready"));
    server.signal(Signal::SIGTERM);
    assert!(server.wait_for_exit().unwrap().success());
    assert!(site.has("finished"));
    server.wait_for_log("to the rest of process group");
    assert_eq!(server.log_lines("): stopping with SIGTERM").len(), 1);
}

#[test]
fn a_service_that_does_not_stop_is_killed() {
    if differs("A service has 10 s to stop, or mercy= seconds; uWSGI allows 3 s, or reload-mercy.")
    {
        return;
    }
    let site = Site::with("hello");
    let command = "trap '' TERM; echo $$ > ids; while :; do sleep 0.1; done";
    let mut server = site
        .server()
        .set("attach-daemon2", format!("cmd={command},mercy=1"))
        .start();
    let pid = wait_for_pid(&server, "ids", 1);
    server.signal(Signal::SIGTERM);
    assert!(server.wait_for_exit().unwrap().success());
    assert!(!proc::is_running(pid));
    server.wait_for_log("did not stop within 1.0 s (mercy)");
}

#[test]
fn a_second_signal_does_not_wait_for_services() {
    if under_uwsgi() {
        return;
    }
    let site = Site::with("hello");
    let command = "trap '' TERM; echo $$ > ids; while :; do sleep 0.1; done";
    let mut server = site
        .server()
        .set("attach-daemon2", format!("cmd={command},mercy=1000"))
        .start();
    let pid = wait_for_pid(&server, "ids", 1);
    server.signal(Signal::SIGTERM);
    server.wait_for_log("stopping with SIGTERM");
    server.insist(Signal::SIGTERM);
    assert!(server.exited().unwrap().success());
    assert!(!proc::is_running(pid));
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
fn the_instance_stops_when_a_controlling_service_exits() {
    let site = Site::with("hello");
    let command = "echo $$ > ids; while ! test -e end; do sleep 0.05; done";
    for option in ["attach-control-daemon", "attach-daemon2"] {
        let value = match option {
            "attach-daemon2" => format!("cmd={command},control=1"),
            _ => command.to_owned(),
        };
        let mut server = site.server().set(option, value).start();
        wait_for_pid(&server, "ids", 1);
        server.get("/").expect_text("hello\n");
        site.write("end", "");
        assert!(server.wait_for_exit().unwrap().success());
        fs::remove_file(site.file("end")).unwrap();
    }
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
fn the_services_of_a_killed_master_are_terminated() {
    if differs(
        "When the master is killed, services and their process groups are terminated; uWSGI leaves them running.",
    ) {
        return;
    }
    let site = Site::with("hello");
    let command = "sleep 1000 & echo $! > children; echo $$ > ids; trap 'echo asked > output; exit' TERM; wait";
    let mut server = site.server().set("attach-daemon", command).start();
    let pid = wait_for_pid(&server, "ids", 1);
    let child = wait_for_pid(&server, "children", 1);
    server.kill_master();
    wait_for_end(&server, pid);
    wait_for_end(&server, child);
    server.eventually("it received SIGTERM first", || {
        site.read("output") == "asked\n"
    });
}

#[test]
fn the_services_of_a_killed_master_that_ignore_sigterm_are_killed() {
    if under_uwsgi() {
        return;
    }
    let site = Site::with("hello");
    let command = "trap '' TERM; echo $$ > ids; while :; do sleep 0.1; done";
    let mut server = site.server().set("attach-daemon", command).start();
    let pid = wait_for_pid(&server, "ids", 1);
    server.kill_master();
    wait_for_end(&server, pid);
}

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

/// A store like Redis: it answers PING on a Unix socket, one connection at a time.
const STORE: &str = r#"
import os, socket
listener = socket.socket(socket.AF_UNIX)
if os.path.exists("store.sock"):
    os.remove("store.sock")
listener.bind("store.new")
listener.listen(100)
os.rename("store.new", "store.sock")
while True:
    peer = listener.accept()[0]
    if peer.recv(100) == b"PING\r\n":
        peer.sendall(b"+PONG\r\n")
    peer.close()
"#;

/// An application that sends PING to the store; `/wait` does so after the file `go` exists.
const CLIENT: &str = r#"
import os, socket, time

def application(environ, start_response):
    if environ["PATH_INFO"] == "/wait":
        open("waiting", "w").close()
        while not os.path.exists("go"):
            time.sleep(0.01)
    peer = socket.socket(socket.AF_UNIX)
    peer.connect("store.sock")
    peer.sendall(b"PING\r\n")
    answer = peer.recv(100)
    start_response("200 OK", [])
    return [answer]
"#;

#[test]
fn services_stop_after_the_last_request() {
    let site = Site::of(CLIENT);
    site.write("store.py", STORE);
    let python = system_python();
    let command = format!("exec {} store.py", python.display());
    let mut server = site.server().set("attach-daemon", command).start();
    server.eventually("the store listens", || site.has("store.sock"));
    server.get("/").expect_text("+PONG\r\n");
    if differs("Services stop after the last request has finished; uWSGI stops them first.") {
        return;
    }
    let mut pending = server.ask(&get("/wait"));
    server.eventually("the request runs", || site.has("waiting"));
    server.signal(Signal::SIGTERM);
    server.wait_for_log("stopping");
    site.write("go", "");
    assert!(pending.answer().expect(200).text().contains("PONG"));
    assert!(server.wait_for_exit().unwrap().success());
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
