//! Limits: what peers can fill is bounded, and honest clients are served meanwhile.

use std::fs;

use nix::sys::signal::Signal;

use crate::kit::*;

/// Application: `/fork` prints the soft limit of descriptors of a forked child, anything else `hello`.
const APP: &str = "\
import os, resource
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    environ['wsgi.input'].read()
    if environ['PATH_INFO'] != '/fork':
        return [b'hello']
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b'%d' % resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        os._exit(0)
    os.waitpid(child, 0)
    return [os.read(reader, 100)]
";

/// A server whose descriptors have these limits: soft and hard.
fn with_descriptors(soft: u32, hard: u32) -> Launch {
    let limits = format!("--nofile={soft}:{hard}");
    Site::of(APP).server().under(&["prlimit", &limits])
}

/// The soft limit of open descriptors of a process.
fn soft_limit(pid: i32) -> u32 {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    soft.unwrap().parse().unwrap()
}

/// Connects `count` clients, of which each sends `text`.
fn clients(server: &Server, count: usize, text: &str) -> Vec<http::Http> {
    let connect = |_| {
        let mut client = server.http();
        client.put(text);
        client
    };
    (0..count).map(connect).collect()
}

const UNFINISHED_HEAD: &str = "GET / HTTP/1.1\r\nHost: example.com\r\nX: ";
const UNFINISHED_BODY: &str =
    "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 10\r\n\r\nhalf";

#[test]
fn the_soft_limit_of_descriptors_is_raised_except_for_commands_and_forks() {
    if differs(
        "The soft limit of descriptors is raised to the hard one, except for commands and forks of the application; uWSGI keeps it.",
    ) {
        return;
    }
    let server = with_descriptors(256, 4096)
        .set("attach-daemon", "echo limit=$(ulimit -n); sleep 1000")
        .start();
    for pid in [server.master, server.wait_for_workers(1)[0]] {
        assert_eq!(soft_limit(pid), 4096);
    }
    server.wait_for_log("limit=256");
    server.get("/fork").expect_text("256");
}

#[test]
fn the_oldest_unfinished_heads_are_closed_so_that_others_are_served() {
    if differs(
        "The connections that wait in a worker are limited (limit-connections, max-fd): the oldest unfinished one is closed; uWSGI has no such limit.",
    ) {
        return;
    }
    let server = with_descriptors(128, 128)
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .start();
    let worker = server.wait_for_workers(1)[0];
    let mut unfinished = clients(&server, 140, UNFINISHED_HEAD);
    server.http().get("/").expect_text("hello");
    server.wait_for_log("limit-connections, max-fd, limit-buffers and limit-spool change that");
    server.eventually("descriptors are free", || proc::descriptors(worker) < 128);
    assert!(unfinished[0].is_closed());
    // the newest one may finish its request
    let newest = unfinished.last_mut().unwrap();
    newest.put("y\r\n\r\n").answer().expect_text("hello");
    assert_eq!(server.log_lines("cannot accept a connection"), [""; 0]);
}

#[test]
fn idle_connections_and_unfinished_bodies_are_closed_so_that_others_are_served() {
    if under_uwsgi() {
        return;
    }
    let server = Site::of(APP)
        .server()
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .set("limit-connections", 20)
        .set("http-keepalive", 60)
        .set("socket-timeout", 60)
        .start();
    let worker = server.wait_for_workers(1)[0];
    let mut bodies = clients(&server, 10, UNFINISHED_BODY);
    let mut idle: Vec<_> = (0..40)
        .map(|_| {
            let mut client = server.http();
            client.get("/").expect_text("hello");
            client
        })
        .collect();
    assert!(idle[0].is_closed());
    idle.last_mut().unwrap().get("/").expect_text("hello");
    // idle ones are closed before unfinished bodies
    bodies[0].put("other!").answer().expect_text("hello");
    let mut more = clients(&server, 40, UNFINISHED_BODY);
    assert_eq!(more[0].answer().status, 503);
    server.http().get("/").expect_text("hello");
    server.wait_for_log("idle");
    assert!(proc::descriptors(worker) < 60);
}

#[test]
fn a_worker_without_free_descriptors_closes_a_waiting_connection() {
    if under_uwsgi() {
        return;
    }
    // the application leaves fewer descriptors than limit-connections allows
    let holding = format!("held = [open('/dev/null') for _ in range(25)]\n{APP}");
    let server = Site::of(&holding)
        .server()
        .under(&["prlimit", "--nofile=64:64"])
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .set("limit-connections", 64)
        .start();
    let _unfinished = clients(&server, 100, UNFINISHED_HEAD);
    for _ in 0..3 {
        server.http().get("/").expect_text("hello");
    }
}

/// Application: finds the worker's descriptors, and turns them against the master.
const HOSTILE: &str = "\
import array, os, signal, socket
def descriptors(wanted):
    for name in os.listdir('/proc/self/fd'):
        try:
            if wanted in os.readlink('/proc/self/fd/' + name):
                yield int(name)
        except OSError:
            pass
def truncate():
    for fd in descriptors('memfd:ruwsgi-scoreboard'):
        os.ftruncate(fd, 0)
    return 'truncated'
def send_eventfd():
    fds = array.array('i', [os.eventfd(0)])
    for fd in descriptors('socket:'):
        with socket.socket(fileno=os.dup(fd)) as link:
            if link.type == socket.SOCK_SEQPACKET:
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)
                link.sendmsg([b'{\"Files\": []}'], [rights])
    os.kill(os.getpid(), signal.SIGSEGV)
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    path = environ['PATH_INFO']
    try:
        text = {'/truncate': truncate, '/eventfd': send_eventfd}.get(path, str)()
    except OSError as error:
        text = type(error).__name__
    return [text.encode()]
";

#[test]
fn an_application_cannot_shorten_the_memory_that_the_master_reads() {
    if under_uwsgi() {
        return;
    }
    let server = Site::of(HOSTILE).server().start();
    server.get("/truncate").expect_text("PermissionError");
    server.get("/").expect_text("");
}

#[test]
fn the_master_does_not_wait_for_a_descriptor_that_a_worker_has_sent() {
    if under_uwsgi() {
        return;
    }
    let mut server = Site::of(HOSTILE).server().start();
    let first = server.wait_for_workers(1);
    server.exchange(&get("/eventfd").bytes());
    server.expect_log("SIGSEGV");
    server.eventually("the worker is replaced", || {
        let workers = server.workers();
        workers.len() == 1 && workers != first
    });
    server.get("/").expect_text("");
}

#[test]
fn the_master_does_not_wait_for_a_worker_that_does_not_read_its_messages() {
    if under_uwsgi() {
        return;
    }
    let site = Site::of(HOSTILE);
    let server = site
        .server()
        .set("master-fifo", site.at("fifo"))
        .set("logto", site.at("log"))
        .set("worker-reload-mercy", 1)
        .logging_to("log")
        .start();
    let worker = server.wait_for_workers(1)[0];
    server::send(worker, Signal::SIGSTOP);
    // each letter is a message to the worker
    for count in 1..=4 {
        fs::write(site.at("fifo"), [b'l'; 2000]).unwrap();
        server.wait_for_lines("master-fifo: l", count * 2000);
    }
    server.stop();
}

const MIB: usize = 1 << 20;

/// Begins a chunked upload, and sends `mib` chunks of a MiB.
fn upload(server: &Server, mib: usize) -> http::Http {
    let mut client = server.http();
    client.put("POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n");
    send_chunks(&mut client, mib);
    client
}

fn send_chunks(client: &mut http::Http, mib: usize) {
    let mut chunk = format!("{MIB:x}\r\n").into_bytes();
    chunk.resize(chunk.len() + MIB, b'x');
    chunk.extend(b"\r\n");
    for _ in 0..mib {
        client.put(&chunk);
    }
}

#[test]
fn an_endless_upload_is_refused_and_others_are_served() {
    if differs(
        "The temporary files of a worker are limited (limit-spool, 2 GiB by default): a body that is too large gets 413, or 503; uWSGI fills the disk.",
    ) {
        return;
    }
    let server = Site::of(APP)
        .server()
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .set("limit-spool", 16 * MIB)
        .set("limit-post", 100 * MIB)
        .start();
    let mut endless = upload(&server, 20);
    assert_eq!(endless.answer().status, 413);
    server.wait_for_log("larger than half of limit-spool = 16777216");
    let mut announced = server.http();
    announced.put("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 9000000\r\n\r\n");
    assert_eq!(announced.answer().status, 413);
    // one that is not finished leaves room for another
    let _first = upload(&server, 5);
    let mut second = upload(&server, 4);
    second.put("0\r\n\r\n").answer().expect_text("hello");
    let mut third = upload(&server, 7);
    assert_eq!(third.answer().status, 503);
    server.wait_for_log("has no room");
    server.http().get("/").expect_text("hello");
}

#[test]
fn an_upload_of_unknown_length_is_limited_by_default() {
    if differs(
        "A request body in chunks gets at most 1/16 of limit-spool unless limit-post is set, 128 MiB by default, and then 413; uWSGI passes no such body to wsgi.input.",
    ) {
        return;
    }
    let server = Site::of(APP)
        .server()
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .start();
    let mut endless = upload(&server, 130);
    assert_eq!(endless.answer().status, 413);
    server.wait_for_log("more than 134217728, which is 1/16 of limit-spool");
    let mut within = upload(&server, 127);
    within.put("0\r\n\r\n").answer().expect_text("hello");
    // one of known length may be larger
    let mut announced = server.http();
    announced.put(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\nExpect: 100-continue\r\n\r\n",
    );
    announced.connection.until("100 Continue");
}

/// A server whose directory for temporary files is a file system of `mib` MiB.
fn with_disk(mib: u32) -> Server {
    let site = Site::of(APP);
    let script = format!("mkdir -p disk && mount -t tmpfs -o size={mib}m none disk && exec \"$@\"");
    site.server()
        .under(&["unshare", "-m", "sh", "-c", &script, "sh"])
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .envvar("TMPDIR", &site.at("disk"))
        .start()
}

#[test]
fn a_full_disk_is_no_fault_of_the_client() {
    if under_uwsgi() || needs_root() {
        return;
    }
    let server = with_disk(2);
    let mut client = upload(&server, 4);
    assert_eq!(client.answer().status, 503);
    server.wait_for_log("cannot be stored in");
    server.http().get("/").expect_text("hello");
}

#[test]
fn an_upload_takes_at_most_half_of_the_free_space() {
    if under_uwsgi() || needs_root() {
        return;
    }
    let server = with_disk(40);
    let head = |bytes| format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {bytes}\r\n\r\n");
    let mut announced = server.http();
    assert_eq!(announced.put(head(30 * MIB)).answer().status, 503);
    server.wait_for_log("a twentieth of the file system");
    let mut endless = upload(&server, 25);
    assert_eq!(endless.answer().status, 503);
    // unfinished ones leave room for others, and 5 % of the file system
    let _unfinished: Vec<_> = [15, 10, 5].map(|mib| upload(&server, mib)).into();
    let mut other = upload(&server, 2);
    other.put("0\r\n\r\n").answer().expect_text("hello");
    let mut large = upload(&server, 25);
    assert_eq!(large.answer().status, 503);
}

#[test]
fn heads_and_small_bodies_that_are_not_complete_take_limited_memory() {
    if under_uwsgi() {
        return;
    }
    let server = Site::of(APP)
        .server()
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .set("limit-buffers", 4 * MIB)
        .start();
    let worker = server.wait_for_workers(1)[0];
    let resident = || -> usize {
        let kib = proc::status(worker, "VmRSS");
        kib.trim_end_matches(" kB").parse().unwrap()
    };
    let before = resident();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: example.com\r\nX: {}",
        "x".repeat(60_000)
    );
    let mut unfinished = clients(&server, 300, &head);
    server.http().get("/").expect_text("hello");
    assert!(unfinished[0].is_closed());
    let body = format!(
        "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 60001\r\n\r\n{}",
        "x".repeat(60_000)
    );
    let mut bodies = clients(&server, 300, &body);
    bodies[0].put("x").answer().expect_text("hello");
    let after = resident();
    assert!(after < before + 12 * 1024, "{before} KiB, then {after} KiB");
}

/// Application: 8 MiB in blocks; `/` is `hello`.
const LARGE: &str = "\
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['PATH_INFO'] == '/':
        return [b'hello']
    return (b'x' * 65536 for _ in range(128))
";

#[test]
fn a_response_without_room_for_a_file_waits_for_its_client() {
    if under_uwsgi() {
        return;
    }
    let server = Site::of(LARGE)
        .server()
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .set("limit-spool", MIB)
        .set("socket-timeout", 60)
        .start();
    let mut slow = server.http();
    slow.put("GET /large HTTP/1.0\r\n\r\n");
    server.wait_for_log("limit-spool is reached");
    let (bytes, _) = slow.connection.rest();
    assert!(bytes.len() > 8 * MIB);
    server.http().get("/").expect_text("hello");
}

#[test]
fn a_slow_reader_costs_two_descriptors() {
    if differs(
        "A response in chunks that its client takes slowly waits in memory and in one temporary file; uWSGI's thread waits.",
    ) {
        return;
    }
    let server = Site::of(LARGE)
        .server()
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .start();
    let worker = server.wait_for_workers(1)[0];
    server.http().get("/").expect_text("hello");
    let before = proc::descriptors(worker);
    let mut slow = clients(&server, 1, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    // the thread has passed the whole response on
    server.http().get("/").expect_text("hello");
    let after = proc::descriptors(worker);
    assert!(after <= before + 3, "{before}, then {after}");
    assert_eq!(slow[0].answer().body.len(), 8 * MIB);
}

#[test]
fn slow_readers_that_fill_the_room_for_files_leave_the_thread_to_others() {
    if differs(
        "Where clients that are slow to take their responses have used up limit-spool, the oldest of them are reset, so that no thread waits; uWSGI's thread waits for each.",
    ) {
        return;
    }
    let server = Site::of(LARGE)
        .server()
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .set("limit-spool", 32 * MIB)
        .set("socket-timeout", 60)
        .start();
    let mut slow = clients(&server, 10, "GET /large HTTP/1.0\r\n\r\n");
    server.http().get("/").expect_text("hello");
    server.wait_for_log("limit-buffers and limit-spool change that");
    let (_, orderly) = slow[0].connection.rest();
    assert!(!orderly, "the oldest one is not reset");
    let (bytes, _) = slow[9].connection.rest();
    assert!(bytes.len() > 8 * MIB);
}

/// Application: `/pid` prints the worker's process, anything else sends a header of 90 MB and then one of 2 MB.
const LARGE_HEADER: &str = "\
import os
def application(environ, start_response):
    if environ['PATH_INFO'] == '/pid':
        start_response('200 OK', [])
        return [str(os.getpid()).encode()]
    errors = []
    for headers in [[('X-A', 'a' * 90_000_000)], [('X-B', '\\xe4' * 1000)] * 3000]:
        try:
            start_response('200 OK', headers)
        except ValueError as error:
            errors.append(str(error))
    start_response('200 OK', [])
    return ['|'.join(errors).encode()]
";

#[test]
fn the_head_of_a_response_is_limited() {
    if differs(
        "The headers of a response have at most 1 MiB; beyond it start_response raises ValueError. uWSGI cuts a header at 64 KiB.",
    ) {
        return;
    }
    let server = Site::of(LARGE_HEADER)
        .server()
        .set("limit-as", "600")
        .start();
    let worker = server.get("/pid").text();
    server.get("/").expect_text(
        "http header 'X-A' makes the headers of the response longer than 1 MiB|\
         http header 'X-B' makes the headers of the response longer than 1 MiB",
    );
    assert_eq!(server.get("/pid").text(), worker);
}

#[test]
fn clients_that_leave_within_a_request_do_not_fill_the_log() {
    if under_uwsgi() {
        return;
    }
    let server = Site::of(APP)
        .server()
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .start();
    drop(clients(&server, 50, UNFINISHED_HEAD));
    server.http().get("/").expect_text("hello");
    server.wait_for_log("the client closed it within a request");
    drop(clients(&server, 50, UNFINISHED_BODY));
    let worker = server.wait_for_workers(1)[0];
    server.eventually("the connections are closed", || {
        proc::descriptors(worker) < 40
    });
    assert_eq!(server.log_lines("closed it within a request").len(), 1);
}
