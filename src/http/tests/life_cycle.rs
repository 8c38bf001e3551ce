//! The end of an engine, and of a request at its deadline.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::SeqCst;

use super::{PATIENCE, Server, Sockets, http_response, packet, to_end, wait_until};

#[test]
fn a_request_in_progress_is_finished_when_the_engine_stops() {
    for sockets in [Sockets::Uwsgi, Sockets::UwsgiAndHttp] {
        for command in [b"r", b"s"] {
            let server = Server::start(&sockets, 2);
            let mut client = server.uwsgi();
            client.write_all(&packet("/wait", b"")).unwrap();
            server.begun.recv_timeout(PATIENCE).unwrap();
            server.command(command);
            wait_until("the listeners are closed", || {
                server.seen.closed_listeners.load(SeqCst) == 1
            });
            assert!(UnixStream::connect(&server.uwsgi).is_err());
            server.go.send(()).unwrap();
            assert!(to_end(client).ends_with("waited"));
            let seen = server.join();
            assert_eq!(seen.closed_listeners.load(SeqCst), 1);
        }
    }
}

#[test]
fn an_idle_connection_is_closed_when_the_engine_stops() {
    let server = Server::start(&Sockets::UwsgiAndHttp, 1);
    let mut client = server.http();
    write!(client, "GET /one HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(http_response(&mut client), "/one");
    wait_until("the connection is idle", || server.engine.idle_count() == 1);
    server.command(b"s");
    assert_eq!(to_end(client), "");
    server.join();
}

#[test]
fn an_engine_whose_owner_is_gone_stops() {
    let server = Server::start(&Sockets::Uwsgi, 2);
    server.commands.shutdown(std::net::Shutdown::Both).unwrap();
    server.join();
}

#[test]
fn at_a_deadline_another_thread_answers() {
    let server = Server::start(&Sockets::Uwsgi, 1);
    let mut client = server.uwsgi();
    client.write_all(&packet("/wait", b"")).unwrap();
    server.begun.recv_timeout(PATIENCE).unwrap();
    let response = &server.engine.threads[0].response;
    response.lock().cut_off(504, "Gateway Timeout");
    assert!(to_end(client).starts_with("HTTP/1.1 504 "));
    server.go.send(()).unwrap();
    assert!(server.get("/hello", b"").ends_with("/hello"));
}
