//! The statistics server (`stats`): uWSGI's JSON, its formats and sockets, and the programs that read it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::{Map, Value};

use crate::kit::*;

/// The type of a field.
#[derive(Clone, Copy)]
enum Type {
    Integer,
    Text,
    List,
    Object,
}
use Type::{Integer, List, Object, Text};

const TOP: &[(&str, Type)] = &[
    ("version", Text),
    ("listen_queue", Integer),
    ("listen_queue_errors", Integer),
    ("signal_queue", Integer),
    ("load", Integer),
    ("pid", Integer),
    ("uid", Integer),
    ("gid", Integer),
    ("cwd", Text),
    ("daemons", List),
    ("locks", List),
    ("sockets", List),
    ("workers", List),
    ("crons", List),
];
const SOCKET: &[(&str, Type)] = &[
    ("name", Text),
    ("proto", Text),
    ("queue", Integer),
    ("max_queue", Integer),
    ("shared", Integer),
    ("can_offload", Integer),
];
const WORKER: &[(&str, Type)] = &[
    ("id", Integer),
    ("pid", Integer),
    ("accepting", Integer),
    ("requests", Integer),
    ("delta_requests", Integer),
    ("exceptions", Integer),
    ("harakiri_count", Integer),
    ("signals", Integer),
    ("signal_queue", Integer),
    ("status", Text),
    ("rss", Integer),
    ("vsz", Integer),
    ("running_time", Integer),
    ("last_spawn", Integer),
    ("respawn_count", Integer),
    ("tx", Integer),
    ("avg_rt", Integer),
    ("apps", List),
    ("cores", List),
];
const APP: &[(&str, Type)] = &[
    ("id", Integer),
    ("modifier1", Integer),
    ("mountpoint", Text),
    ("startup_time", Integer),
    ("requests", Integer),
    ("exceptions", Integer),
    ("chdir", Text),
];
const CORE: &[(&str, Type)] = &[
    ("id", Integer),
    ("requests", Integer),
    ("static_requests", Integer),
    ("routed_requests", Integer),
    ("offloaded_requests", Integer),
    ("write_errors", Integer),
    ("read_errors", Integer),
    ("in_request", Integer),
    ("vars", List),
    ("req_info", Object),
];
const DAEMON: &[(&str, Type)] = &[("cmd", Text), ("pid", Integer), ("respawns", Integer)];
const CRON: &[(&str, Type)] = &[
    ("minute", Integer),
    ("hour", Integer),
    ("day", Integer),
    ("month", Integer),
    ("week", Integer),
    ("command", Text),
    ("unique", Integer),
    ("legion", Text),
    ("pid", Integer),
    ("started_at", Integer),
];

/// Everything that the statistics socket at this address sends.
#[track_caller]
fn read(server: &Server, address: &str) -> Vec<u8> {
    let address = Address::parse(address, server.site.path());
    let mut connection = address.try_connect().unwrap();
    let (bytes, orderly) = connection.rest();
    assert!(orderly, "the answer ended with a reset");
    bytes
}

#[track_caller]
pub fn statistics(server: &Server) -> Value {
    parse(&read(server, "stats.sock"))
}

#[track_caller]
fn parse(bytes: &[u8]) -> Value {
    let text = String::from_utf8_lossy(bytes);
    let value = serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {text}"));
    all_integers_fit(&value);
    value
}

/// The decoders in Go fail on a number that is not an integer of 64 bits, and on null.
#[track_caller]
fn all_integers_fit(value: &Value) {
    match value {
        Value::Null => panic!("null in the statistics"),
        Value::Number(number) => assert!(number.is_i64(), "{number} is no integer of 64 bits"),
        Value::Array(items) => items.iter().for_each(all_integers_fit),
        Value::Object(fields) => fields.values().for_each(all_integers_fit),
        Value::Bool(_) => panic!("a boolean in the statistics"),
        Value::String(_) => {}
    }
}

/// Checks that an object has these fields. uWSGI has no others; ruwsgi may have more.
#[track_caller]
fn has_fields(object: &Value, fields: &[(&str, Type)]) {
    for (name, kind) in fields {
        let value = &object[*name];
        let matches = match kind {
            Integer => value.is_i64(),
            Text => value.is_string(),
            List => value.is_array(),
            Object => value.is_object(),
        };
        assert!(matches, "{name} is {value} in {object}");
    }
    if under_uwsgi() {
        let names: Map<String, Value> = object.as_object().unwrap().clone();
        let unknown = names
            .keys()
            .filter(|name| fields.iter().all(|(it, _)| it != name));
        assert_eq!(unknown.collect::<Vec<_>>(), Vec::<&String>::new());
    }
}

pub fn list<'a>(value: &'a Value, key: &str) -> &'a Vec<Value> {
    value[key].as_array().unwrap()
}

pub fn number(value: &Value, key: &str) -> i64 {
    value[key]
        .as_i64()
        .unwrap_or_else(|| panic!("{key} in {value}"))
}

pub fn with_stats(options: &[(&str, &str)]) -> Server {
    let site = Site::with("processes");
    let launch = site.server().set("stats", site.at("stats.sock"));
    let server = launch.set_all(options).start();
    server.eventually("the statistics socket exists", || site.has("stats.sock"));
    server
}

#[track_caller]
fn check_workers(workers: &[Value]) {
    assert_eq!(workers.len(), 2);
    for (id, worker) in (1..).zip(workers) {
        has_fields(worker, WORKER);
        assert_eq!(number(worker, "id"), id);
        assert_eq!(number(worker, "accepting"), 1);
        assert_eq!(number(worker, "respawn_count"), 1);
        has_fields(&worker["apps"][0], APP);
        assert_eq!(list(worker, "cores").len(), 2);
        list(worker, "cores")
            .iter()
            .for_each(|core| has_fields(core, CORE));
    }
    assert!(workers.iter().any(|worker| worker["status"] == "busy"));
    assert!(workers.iter().any(|worker| number(worker, "tx") > 0));
}

/// Checks that exactly one request is in flight, and how it is shown.
#[track_caller]
fn check_request_in_flight(workers: &[Value]) {
    let cores = workers.iter().flat_map(|worker| list(worker, "cores"));
    let busy: Vec<_> = cores
        .filter(|core| number(core, "in_request") == 1)
        .collect();
    let [core] = busy[..] else {
        panic!("{busy:?}");
    };
    assert!(number(&core["req_info"], "request_start") > 1_700_000_000);
    let vars = list(core, "vars");
    for var in ["REQUEST_METHOD=GET", "REQUEST_URI=/hold?go", ""] {
        assert!(vars.iter().any(|it| it == var), "{var} is not in {vars:?}");
    }
    assert_eq!(vars.last().unwrap(), "");
}

#[test]
fn the_fields_and_their_types_are_those_of_uwsgi() {
    let server = with_stats(&[
        ("processes", "2"),
        ("threads", "2"),
        ("attach-daemon", "sleep 1000"),
        ("cron", "1 2 3 4 5 true"),
    ]);
    server.eventually("the workers and the daemon run", || {
        let all = statistics(&server);
        let workers = list(&all, "workers");
        let daemon = &all["daemons"][0]["pid"];
        workers.iter().all(|it| number(it, "accepting") == 1) && daemon.as_i64() > Some(0)
    });
    server.get("/pid").expect(200);
    let held = server.ask(&get("/hold?go"));
    server.eventually("the request is in the application", || {
        server.site.has("held")
    });
    let all = statistics(&server);
    has_fields(&all, TOP);
    assert_eq!(number(&all, "pid"), i64::from(server.master));
    for (key, fields) in [("sockets", SOCKET), ("daemons", DAEMON), ("crons", CRON)] {
        assert_eq!(list(&all, key).len(), 1, "{key}");
        has_fields(&all[key][0], fields);
    }
    for lock in list(&all, "locks") {
        assert_eq!(lock.as_object().unwrap().len(), 1, "{lock}");
    }
    check_workers(list(&all, "workers"));
    check_request_in_flight(list(&all, "workers"));
    server.site.write("go", "");
    drop(held);
    server.stop();
}

#[test]
fn the_statistics_do_not_contain_what_the_client_has_sent() {
    if differs(
        "In the statistics, vars of a request has its method, URI and client address only, so that no cookie and no password can be read.",
    ) {
        return;
    }
    let port = format!("127.0.0.1:{}", free_port());
    let server = with_stats(&[("stats", &port)]);
    let request = get("/hold?go")
        .and("HTTP_COOKIE", "session=secret")
        .and("HTTP_AUTHORIZATION", "Basic secret");
    let held = server.ask(&request);
    server.eventually("the request is in the application", || {
        server.site.has("held")
    });
    for address in [port.as_str(), "stats.sock"] {
        let text = String::from_utf8(read(&server, address)).unwrap();
        assert!(
            text.contains("REQUEST_URI=/hold?go") && !text.contains("secret"),
            "{text}"
        );
    }
    server.site.write("go", "");
    drop(held);
    server.stop();
}

#[test]
fn stats_http_answers_a_request() {
    let port = format!("127.0.0.1:{}", free_port());
    let several = !differs("stats may be given several times, for several addresses.");
    let mut options = vec![("stats-http", "true")];
    options.extend(several.then_some(("stats", port.as_str())));
    let server = with_stats(&options);
    for address in [port.as_str(), "stats.sock"] {
        if address == port && !several {
            continue;
        }
        let mut connection = Address::parse(address, server.site.path())
            .try_connect()
            .unwrap();
        connection.put(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let (bytes, orderly) = connection.rest();
        assert!(orderly);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let head: Vec<&str> = head.split("\r\n").collect();
        assert_eq!(
            head,
            [
                "HTTP/1.0 200 OK",
                "Connection: close",
                "Access-Control-Allow-Origin: *",
                "Content-Type: application/json"
            ]
        );
        assert_eq!(
            number(&parse(body.as_bytes()), "pid"),
            i64::from(server.master)
        );
    }
    server.stop();
}

#[test]
fn the_text_is_ascii_and_minified_on_request() {
    let directory = "J\u{f6}rg";
    let app = "def application(e, s):\n    s('200 OK', [])\n    return [b'x']\n";
    let site = Site::of(app);
    fs::create_dir(site.file(directory)).unwrap();
    let launch = site
        .server()
        .set("chdir", directory)
        .set("socket", site.at("app.sock"))
        .set("wsgi-file", site.at("app.py"))
        .set("stats", site.at("stats.sock"))
        .set("processes", 3)
        .set("stats-no-cores", "true");
    let server = launch.clone().start();
    server.eventually("the socket exists", || site.has("stats.sock"));
    let text = read(&server, "stats.sock");
    let all = parse(&text);
    assert!(all["cwd"].as_str().unwrap().ends_with(directory));
    assert!(
        list(&all, "workers")
            .iter()
            .all(|it| it.get("cores").is_none())
    );
    if !differs(
        "The statistics are ASCII, with one line per worker, and long integers are never rounded.",
    ) {
        assert!(text.is_ascii());
        let lines = String::from_utf8(text).unwrap();
        let workers = lines.lines().filter(|line| line.starts_with("{\"id\":"));
        assert_eq!(workers.count(), 3);
    }
    server.stop();
    let server = launch.set("stats-minified", "true").start();
    server.eventually("the socket exists", || site.has("stats.sock"));
    let text = read(&server, "stats.sock");
    parse(&text);
    assert!(!text.trim_ascii_end().contains(&b'\n'));
    server.stop();
}

#[test]
fn the_socket_has_the_permissions_of_other_sockets_and_is_removed() {
    let server = with_stats(&[("chmod-socket", "640")]);
    let site = server.site.clone();
    if !differs(
        "chmod-socket and chown-socket apply to the statistics socket, and vacuum removes it.",
    ) {
        let about = fs::metadata(site.file("stats.sock")).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o640);
        server.stop();
        assert!(!site.has("stats.sock"));
        return;
    }
    server.stop();
}

#[test]
fn an_address_in_use_prevents_the_start() {
    if under_uwsgi() {
        return;
    }
    let server = with_stats(&[]);
    let other = Site::with("processes");
    let refusal = other
        .server()
        .set("stats", server.site.at("stats.sock"))
        .refused();
    assert!(
        refusal.log.contains("stats = ") && refusal.log.contains("another instance serves on it"),
        "{}",
        refusal.log
    );
    statistics(&server);
    server.stop();
}

#[test]
fn the_queue_of_a_unix_socket_is_counted() {
    if differs("The statistics contain the queue and its limit also for Unix sockets.") {
        return;
    }
    let server = with_stats(&[("listen", "50")]);
    let workers = server.wait_for_workers(1);
    server::send(workers[0], Signal::SIGSTOP);
    server.eventually("the worker is stopped", || {
        proc::process(workers[0]).is_some_and(|it| it.state == 'T')
    });
    let held: Vec<_> = (0..3).map(|_| server.connect()).collect();
    let all = statistics(&server);
    let socket = &all["sockets"][0];
    assert_eq!(
        (number(socket, "queue"), number(socket, "max_queue")),
        (3, 50)
    );
    assert_eq!((number(&all, "listen_queue"), number(&all, "load")), (3, 3));
    server::send(workers[0], Signal::SIGCONT);
    drop(held);
    server.stop();
}

#[test]
fn without_statistics_the_master_has_one_thread() {
    if under_uwsgi() {
        return;
    }
    let server = Site::with("processes").server().start();
    assert_eq!(proc::status(server.master, "Threads"), "1");
    let before = proc::descriptors(server.master);
    server.stop();
    let server = with_stats(&[]);
    assert_eq!(proc::status(server.master, "Threads"), "2");
    assert!(proc::descriptors(server.master) > before);
    server.stop();
}

/// Runs uwsgitop in a terminal until it has shown a screen with these texts.
const TOP_IN_TERMINAL: &str = r"
import os, pty, select, sys, time, fcntl, termios, struct
program, address, wanted = sys.argv[1], sys.argv[2], sys.argv[3:]
pid, terminal = pty.fork()
if pid == 0:
    os.environ['TERM'] = 'xterm'
    os.execv(program, [program, '--frequency', '1', address])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', 40, 160, 0, 0))
screen, end = '', time.time() + 30
while time.time() < end and not all(text in screen for text in wanted):
    if select.select([terminal], [], [], 1)[0]:
        try:
            screen += os.read(terminal, 65536).decode(errors='replace')
        except OSError:
            break
os.write(terminal, b'q')
missing = [text for text in wanted if text not in screen]
sys.exit('%r missing in %s' % (missing, screen) if missing else 0)
";

#[test]
fn uwsgitop_shows_the_workers() {
    let python = system_python();
    let venv = venv::shared("uwsgitop", &python, &["uwsgitop==0.12"]);
    let server = with_stats(&[("processes", "2")]);
    let workers = server.wait_for_workers(2);
    server.get("/pid").expect(200);
    let (first, second) = (workers[0].to_string(), workers[1].to_string());
    venv::run(
        Command::new(venv.join("bin/python"))
            .args(["-c", TOP_IN_TERMINAL])
            .arg(venv.join("bin/uwsgitop"))
            .arg(server.site.file("stats.sock"))
            .args(["RPS", &first, &second, "idle"]),
    );
    server.stop();
}
