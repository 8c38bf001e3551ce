//! Requests over HTTP: connections that are kept, chunks, refusals, incomplete responses.

use std::io::{Read, Write};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::{PATIENCE, Server, Sockets, http_response, packet, to_end};

#[test]
fn an_http_connection_is_kept_for_further_requests() {
    let server = Server::start(&Sockets::UwsgiAndHttp, 1);
    let mut client = server.http();
    for path in ["/one", "/two", "/three"] {
        write!(client, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(http_response(&mut client), path);
    }
    write!(
        client,
        "GET /four HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    assert!(to_end(client).ends_with("/four"));
    assert!(server.get("/hello", b"").ends_with("/hello"));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    for threads in [1, 3] {
        let server = Server::start(&Sockets::UwsgiAndHttp, threads);
        let mut client = server.http();
        let requests: Vec<String> = (0..20)
            .map(|number| format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .collect();
        client.write_all(requests.concat().as_bytes()).unwrap();
        for number in 0..20 {
            assert_eq!(http_response(&mut client), format!("/{number}"));
        }
    }
}

#[test]
fn a_chunked_body_arrives_without_its_chunks() {
    let server = Server::start(&Sockets::UwsgiAndHttp, 1);
    let mut client = server.http();
    client
        .write_all(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n",
        )
        .unwrap();
    std::thread::sleep(Duration::from_millis(30));
    client.write_all(b"5\r\n five\r\n0\r\n\r\n").unwrap();
    assert_eq!(http_response(&mut client), "four five");
}

#[test]
fn a_body_of_unknown_length_is_sent_in_chunks() {
    let server = Server::start(&Sockets::UwsgiAndHttp, 1);
    let mut client = server.http();
    client
        .write_all(b"GET /blocks HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let response = to_end(client);
    assert!(
        response.contains("\r\nTransfer-Encoding: chunked\r\n"),
        "{response}"
    );
    assert!(
        response.ends_with("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"),
        "{response}"
    );
}

#[test]
fn a_body_that_is_too_short_resets_the_connection() {
    let server = Server::start(&Sockets::UwsgiAndHttp, 1);
    let mut client = server.http();
    write!(client, "GET /short HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut text = Vec::new();
    let error = client.read_to_end(&mut text).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_response_left_unfinished_ends_its_connection() {
    let server = Server::start(&Sockets::UwsgiAndHttp, 1);
    for (path, status, body) in [
        ("/unfinished", "HTTP/1.1 200 OK", "5\r\nbegun\r\n"),
        ("/nothing", "HTTP/1.1 500 ", "Internal Server Error"),
    ] {
        let mut client = server.http();
        let requests =
            [path, "/next"].map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.write_all(requests.concat().as_bytes()).unwrap();
        let mut bytes = Vec::new();
        let end = client.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.starts_with(status) && text.ends_with(body), "{text}");
        assert_eq!(end.is_err(), path == "/unfinished", "{end:?}");
    }
    assert!(server.get("/hello", b"").ends_with("/hello"));
}

#[test]
fn a_thread_that_keeps_a_response_costs_its_connection() {
    let server = Server::start(&Sockets::UwsgiAndHttp, 1);
    let mut client = server.http();
    client
        .write_all(b"GET /leave HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    server.begun.recv_timeout(PATIENCE).unwrap();
    let response = server.engine.threads[0].response.clone();
    let held = response.lock();
    server.go.send(()).unwrap();
    assert!(client.read_to_end(&mut Vec::new()).is_err());
    drop(held);
    assert!(server.get("/hello", b"").ends_with("/hello"));
}

#[test]
fn what_cannot_be_served_is_refused_by_the_engine() {
    let server = Server::start(&Sockets::UwsgiAndHttp, 1);
    let mut client = server.uwsgi();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert!(to_end(client).starts_with("HTTP/1.1 400 "));
    let mut client = server.http();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(to_end(client).starts_with("HTTP/1.1 400 "));
    let mut client = server.uwsgi();
    client.write_all(&packet(&"/x".repeat(3000), b"")).unwrap();
    assert!(to_end(client).starts_with("HTTP/1.1 431 "));
    let mut client = server.uwsgi();
    client
        .write_all(&packet("/echo", &vec![b'x'; 2 << 20]))
        .unwrap();
    assert!(to_end(client).starts_with("HTTP/1.1 413 "));
    let mut client = server.uwsgi();
    client.write_all(&[100, 0, 0, 0]).unwrap();
    let mut pong = Vec::new();
    client.read_to_end(&mut pong).unwrap();
    assert_eq!(pong, crate::protocol::uwsgi::PONG);
    assert_eq!(server.seen.calls.load(SeqCst), 0);
    assert_eq!(server.engine.scoreboard.requests(), 0);
}
