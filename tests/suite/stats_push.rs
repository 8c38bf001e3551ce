//! Pushers of statistics (`stats-push`).

use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use serde_json::Value;

use crate::kit::*;

/// A server that sends its statistics every second.
fn pushing(value: &str) -> Server {
    let launch = Site::with("processes").server().set("stats-push", value);
    launch.set("stats-pusher-default-freq", 1).start()
}

fn socket() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// Receives datagrams until one begins with `name`, and returns its rest.
#[track_caller]
fn receive(socket: &UdpSocket, name: &str) -> String {
    let mut buffer = [0; 2048];
    loop {
        let size = socket.recv(&mut buffer).unwrap();
        let text = String::from_utf8(buffer[..size].to_vec()).unwrap();
        if let Some(rest) = text.strip_prefix(name) {
            return rest.to_owned();
        }
    }
}

#[test]
fn statsd_gets_the_increase_of_counters() {
    if differs(
        "stats-push = statsd sends the increase of counters; uWSGI sends their totals, which statsd adds up.",
    ) {
        return;
    }
    let (statsd, port) = socket();
    let server = pushing(&format!("statsd:127.0.0.1:{port},blog"));
    for _ in 0..3 {
        server.get("/pid").expect(200);
    }
    // the sum of all increases is the number of requests
    let mut sum = 0;
    while sum < 3 {
        let rest = receive(&statsd, "blog.worker.1.requests:");
        sum += rest.strip_suffix("|c").unwrap().parse::<i32>().unwrap();
    }
    assert_eq!(sum, 3);
    assert_eq!(receive(&statsd, "blog.worker.1.requests:"), "0|c");
    assert!(receive(&statsd, "blog.worker.1.rss_size:").ends_with("|g"));
    server.stop();
}

#[test]
fn dogstatsd_gets_tags_and_a_socket_gets_types() {
    if under_uwsgi() {
        return;
    }
    let (agent, port) = socket();
    let server = pushing(&format!("dogstatsd:127.0.0.1:{port}"));
    assert_eq!(
        receive(&agent, "uwsgi.worker.core.requests:"),
        "0|c|#worker:1,core:0"
    );
    server.stop();
    let (reader, port) = socket();
    let server = pushing(&format!("socket:127.0.0.1:{port}"));
    assert_eq!(receive(&reader, "uwsgi.worker.1.respawns "), "0 1");
    server.stop();
}

#[test]
fn zabbix_and_a_file_get_the_statistics() {
    if under_uwsgi() {
        return;
    }
    let zabbix = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = pushing(&format!("zabbix:{}", zabbix.local_addr().unwrap()));
    let mut packet = Vec::new();
    let (mut stream, _) = zabbix.accept().unwrap();
    stream.read_to_end(&mut packet).unwrap();
    let body = packet.strip_prefix(b"ZBXD\x01").unwrap();
    let (length, body) = body.split_at(8);
    assert_eq!(
        u64::from_le_bytes(length.try_into().unwrap()),
        body.len() as u64
    );
    let body: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(body["request"], "sender data");
    assert_eq!(body["data"][0]["key"], "uwsgi.core.routed_signals");
    server.stop();
    let server = pushing("file:path=pushed.json,freq=1");
    server.eventually("the file has two entries", || {
        let site = &server.site;
        site.has("pushed.json") && site.read("pushed.json").matches("\n\n").count() >= 2
    });
    let text = server.site.read("pushed.json");
    let first = text.split("\n\n").next().unwrap();
    let first: Value = serde_json::from_str(first).unwrap();
    assert_eq!(first["pid"], server.master);
    server.stop();
}
