//! Stop of services: their signal, their children, and the death of the master.

use std::fs;

use nix::sys::signal::Signal;

use crate::kit::*;

use super::daemons::{wait_for_end, wait_for_pid};

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
