//! Requests of the uwsgi protocol, and bodies that are spooled or sent from a file.

use std::io::Write;
use std::sync::atomic::Ordering::SeqCst;

use super::{LARGE, Server, Sockets, packet, to_end, wait_until};

#[test]
fn a_uwsgi_request_is_answered_and_its_connection_closed() {
    let server = Server::start(&Sockets::Uwsgi, 1);
    let response = server.get("/hello", b"");
    assert_eq!(
        response,
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n/hello"
    );
    assert_eq!(
        server.get("/echo", b"some bytes").split("\r\n\r\n").nth(1),
        Some("some bytes")
    );
    assert_eq!(server.engine.scoreboard.requests(), 2);
}

#[test]
fn the_lock_is_released_once_per_request() {
    let server = Server::start(&Sockets::Uwsgi, 1);
    for _ in 0..10 {
        server.get("/hello", b"");
    }
    // the thread waits for the eleventh request
    wait_until("the thread waits", || {
        server.seen.unlocks.load(SeqCst) == 11
    });
    assert_eq!(server.seen.calls.load(SeqCst), 10);
}

#[test]
fn a_slow_request_waits_in_the_io_thread_and_holds_no_thread() {
    for sockets in [Sockets::Uwsgi, Sockets::UwsgiAndHttp] {
        let server = Server::start(&sockets, 1);
        let request = packet("/echo", b"slowly");
        let mut slow = server.uwsgi();
        slow.write_all(&request[..10]).unwrap();
        wait_until("the request is pending", || {
            server.engine.inbox.reading_count() == 1
        });
        assert!(server.get("/hello", b"").ends_with("/hello"));
        slow.write_all(&request[10..]).unwrap();
        assert!(to_end(slow).ends_with("slowly"));
        assert_eq!(server.engine.inbox.reading_count(), 0);
    }
}

#[test]
fn a_body_above_the_threshold_is_spooled_to_a_file() {
    let server = Server::start(&Sockets::Uwsgi, 1);
    let body = vec![b'b'; 500_000];
    let response = server.get("/echo", &body);
    assert_eq!(
        response.len(),
        "HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n".len() + body.len()
    );
}

#[test]
fn a_slow_reader_of_a_large_response_holds_no_thread() {
    for sockets in [Sockets::Uwsgi, Sockets::UwsgiAndHttp] {
        let server = Server::start(&sockets, 1);
        let mut slow = server.uwsgi();
        slow.write_all(&packet("/large", b"")).unwrap();
        wait_until("the response is complete", || {
            server.seen.calls.load(SeqCst) == 1 && server.get("/hello", b"").ends_with("/hello")
        });
        let response = to_end(slow);
        assert_eq!(response.split("\r\n\r\n").nth(1).map(str::len), Some(LARGE));
    }
}

#[test]
fn part_of_a_file_is_sent_by_the_kernel() {
    let server = Server::start(&Sockets::Uwsgi, 1);
    let response = server.get("/file", b"");
    assert!(
        response.ends_with("Content-Length: 5\r\n\r\n23456"),
        "{response}"
    );
}
