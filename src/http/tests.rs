//! The engine with an application in Rust, over real sockets, without an interpreter.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::application::Application;
use super::connection::Connection;
use super::dispatch::Phase;
use super::engine::Engine;
use super::io_thread::{Control, IoThread};
use super::listeners::Listener;
use super::request::Request;
use super::response::Response;
use super::scoreboard_rows::ScoreboardRows;
use super::settings::{Limits, Settings, Timeouts};
use super::shared_response::SharedResponse;
use super::spool::Body;
use super::unlock::{NoLock, Unlock};
use crate::ipc::Protocol;
use crate::log::request_log::RequestLogSettings;
use crate::shared::scoreboard::Scoreboard;

const PATIENCE: Duration = Duration::from_secs(20);
const LARGE: usize = 12 << 20;

/// What the tests see of the application.
#[derive(Default)]
struct Seen {
    calls: AtomicUsize,
    unlocks: AtomicUsize,
    closed_listeners: AtomicUsize,
}

/// Selects the response by PATH_INFO.
struct TestApplication {
    seen: Arc<Seen>,
    /// `/wait` reports that it has begun, and continues after a message on `go`.
    begun: Sender<()>,
    go: Arc<std::sync::Mutex<Receiver<()>>>,
}

impl Unlock for TestApplication {
    fn unlocked<T: Send>(&self, wait: impl FnOnce() -> T + Send) -> T {
        self.seen.unlocks.fetch_add(1, SeqCst);
        wait()
    }
}

impl Application for TestApplication {
    #[expect(clippy::too_many_lines, reason = "a table of paths")]
    fn call(&mut self, request: &mut Request, response: &SharedResponse) {
        self.seen.calls.fetch_add(1, SeqCst);
        let body = received(std::mem::take(&mut request.body));
        match request.path_info() {
            b"/wait" => {
                self.begun.send(()).unwrap();
                self.go.lock().unwrap().recv().unwrap();
                answer(&mut response.lock(), b"waited");
            }
            b"/echo" => answer(&mut response.lock(), &body),
            b"/large" => {
                let mut response = response.lock();
                response.head.start(b"200 OK").unwrap();
                for _ in 0..LARGE / 65536 {
                    if response.write(&NoLock, &[b'x'; 65536][..], false).is_err() {
                        return;
                    }
                }
                response.finish();
            }
            b"/file" => {
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(b"0123456789").unwrap();
                let mut response = response.lock();
                response.head.start(b"200 OK").unwrap();
                response.write_file(&NoLock, file, 2, 5).unwrap();
                response.finish();
            }
            b"/short" => {
                let mut response = response.lock();
                response.head.start(b"200 OK").unwrap();
                response.head.add(b"Content-Length", b"10").unwrap();
                response.write(&NoLock, &b"four"[..], true).unwrap();
                response.finish();
            }
            b"/unfinished" => {
                let mut response = response.lock();
                response.head.start(b"200 OK").unwrap();
                response.write(&NoLock, &b"begun"[..], false).unwrap();
            }
            b"/leave" => {
                self.begun.send(()).unwrap();
                self.go.lock().unwrap().recv().unwrap();
            }
            b"/nothing" => response.lock().head.start(b"200 OK").unwrap(),
            b"/switch" => {
                let mut response = response.lock();
                response.head.switch_protocols(b"shout").unwrap();
                response.finish();
            }
            b"/blocks" => {
                let mut response = response.lock();
                response.head.start(b"200 OK").unwrap();
                for block in [&b"one"[..], b"", b"two"] {
                    response.write(&NoLock, block, false).unwrap();
                }
                response.finish();
            }
            path => {
                let text = path.to_vec();
                answer(&mut response.lock(), &text);
            }
        }
    }

    fn switched(&mut self, connection: Connection, received: Bytes) {
        shout(connection, &received);
    }
}

/// Returns five bytes in capitals, of which some have been `received` already, and closes the connection.
fn shout(connection: Connection, received: &[u8]) {
    let stream = TcpStream::from(connection.fd.as_fd().try_clone_to_owned().unwrap());
    stream.set_nonblocking(false).unwrap();
    let mut text = received.to_vec();
    (&stream)
        .take(5 - text.len() as u64)
        .read_to_end(&mut text)
        .unwrap();
    (&stream).write_all(&text.to_ascii_uppercase()).unwrap();
}

fn answer(response: &mut Response, body: &[u8]) {
    response.head.start(b"200 OK").unwrap();
    response.set_length(body.len() as u64);
    // the client may be gone, or the response cut off
    let _ = response.write(&NoLock, body, true);
    response.finish();
}

fn received(body: Body) -> Vec<u8> {
    match body {
        Body::Empty => Vec::new(),
        Body::Memory { bytes, .. } => bytes,
        Body::File { file, len, .. } => {
            use std::os::unix::fs::FileExt;
            let mut bytes = vec![0; len as usize];
            file.read_exact_at(&mut bytes, 0).unwrap();
            bytes
        }
    }
}

/// Takes the commands `r` (retire) and `s` (stop).
struct TestControl {
    commands: UnixStream,
    seen: Arc<Seen>,
}

impl Control for TestControl {
    fn descriptor(&self) -> RawFd {
        self.commands.as_raw_fd()
    }

    fn receive(&mut self, engine: &Engine) -> bool {
        let mut command = [0];
        match self.commands.read(&mut command) {
            Ok(1) if command == *b"r" => engine.retire(),
            Ok(1) => engine.stop(),
            _ => {
                engine.stop();
                return false;
            }
        }
        true
    }

    fn woken(&mut self, _engine: &Engine) {}

    fn listeners_closed(&mut self) {
        self.seen.closed_listeners.fetch_add(1, SeqCst);
    }
}

/// A running engine.
struct Server {
    engine: Arc<Engine>,
    seen: Arc<Seen>,
    commands: UnixStream,
    begun: Receiver<()>,
    go: Sender<()>,
    threads: Vec<JoinHandle<()>>,
    uwsgi: PathBuf,
    http: Option<std::net::SocketAddr>,
    _directory: tempfile::TempDir,
}

/// Which listeners a server has.
#[derive(PartialEq)]
enum Sockets {
    Uwsgi,
    UwsgiAndHttp,
}

impl Server {
    fn start(sockets: &Sockets, threads: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let uwsgi = directory.path().join("uwsgi");
        let mut listeners = vec![Listener {
            fd: UnixListener::bind(&uwsgi).unwrap().into(),
            protocol: Protocol::Uwsgi,
            name: "uwsgi".into(),
        }];
        let mut http = None;
        if *sockets == Sockets::UwsgiAndHttp {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            http = Some(listener.local_addr().unwrap());
            listeners.push(Listener {
                fd: listener.into(),
                protocol: Protocol::Http,
                name: "http".into(),
            });
        }
        let scoreboard = ScoreboardRows {
            board: Scoreboard::create(1, threads).unwrap(),
            row: 1,
            worker_id: 1,
        };
        let engine = Engine::new(settings(threads), listeners, scoreboard, Phase::Serving).unwrap();
        let engine = Arc::new(engine);
        let seen = Arc::new(Seen::default());
        let (commands, control) = UnixStream::pair().unwrap();
        let control = TestControl {
            commands: control,
            seen: seen.clone(),
        };
        let mut running = vec![IoThread::start(&engine, control).unwrap()];
        let (begun_sender, begun) = mpsc::channel();
        let (go, go_receiver) = mpsc::channel();
        let go_receiver = Arc::new(std::sync::Mutex::new(go_receiver));
        for number in 0..threads {
            let mut application = TestApplication {
                seen: seen.clone(),
                begun: begun_sender.clone(),
                go: go_receiver.clone(),
            };
            let engine = engine.clone();
            running.push(std::thread::spawn(move || {
                engine.serve(number, &mut application);
            }));
        }
        Self {
            engine,
            seen,
            commands,
            begun,
            go,
            threads: running,
            uwsgi,
            http,
            _directory: directory,
        }
    }

    fn command(&self, command: &[u8; 1]) {
        (&self.commands).write_all(command).unwrap();
    }

    /// Waits until all threads have ended.
    fn join(mut self) -> Arc<Seen> {
        for thread in std::mem::take(&mut self.threads) {
            wait_until("a thread ends", || thread.is_finished());
            thread.join().unwrap();
        }
        self.seen.clone()
    }

    fn uwsgi(&self) -> UnixStream {
        let client = UnixStream::connect(&self.uwsgi).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    fn http(&self) -> TcpStream {
        let client = TcpStream::connect(self.http.unwrap()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// The complete response to a uwsgi request.
    fn get(&self, path: &str, body: &[u8]) -> String {
        let mut client = self.uwsgi();
        client.write_all(&packet(path, body)).unwrap();
        to_end(client)
    }
}

fn settings(threads: u32) -> Settings {
    Settings {
        threads,
        limits: Limits {
            buffer_size: 4096,
            post_buffering: 65536,
            headers: 100,
            connections: 100,
            limit_post: 1 << 20,
        },
        timeouts: Timeouts {
            socket: PATIENCE,
            head: PATIENCE,
            body: PATIENCE,
            send: PATIENCE,
            keep_alive: PATIENCE,
        },
        header_rules: None,
        request_log: RequestLogSettings::default(),
    }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn packet(path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let mut block = Vec::new();
    for (name, value) in [
        ("REQUEST_METHOD", "POST"),
        ("PATH_INFO", path),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("CONTENT_LENGTH", &length),
    ] {
        for text in [name, value] {
            block.extend((text.len() as u16).to_le_bytes());
            block.extend(text.as_bytes());
        }
    }
    let [low, high] = (block.len() as u16).to_le_bytes();
    [&[0, low, high, 0], &block[..], body].concat()
}

fn to_end(mut client: impl Read) -> String {
    let mut text = Vec::new();
    client.read_to_end(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Reads one HTTP response with a Content-Length; its body.
fn http_response(client: &mut impl Read) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap();
    let mut lines = head.lines();
    let length = lines.find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    client.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

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
    // the last one waits for the eleventh request
    wait_until("the thread waits", || {
        server.seen.unlocks.load(SeqCst) == 11
    });
    assert_eq!(server.seen.calls.load(SeqCst), 10);
}

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
fn an_application_takes_over_a_connection_that_changes_its_protocol() {
    let server = Server::start(&Sockets::UwsgiAndHttp, 1);
    let mut client = server.http();
    client
        .write_all(b"GET /one HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert_eq!(http_response(&mut client), "/one");
    let head = "GET /switch HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n";
    client.write_all(format!("{head}he").as_bytes()).unwrap();
    client.write_all(b"llo").unwrap();
    let response = to_end(client);
    assert!(
        response.starts_with(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\nConnection: Upgrade\r\n"
        ),
        "{response}"
    );
    assert!(response.ends_with("\r\n\r\nHELLO"), "{response}");
    assert_eq!(server.engine.idle_count(), 0);
    assert!(server.get("/hello", b"").ends_with("/hello"));
}
