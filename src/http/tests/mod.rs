//! Tests of the engine with an application in Rust, over real sockets, without an interpreter. This file has the
//! application and the server; the tests are in the files for each subject.

mod http;
mod life_cycle;
mod uwsgi;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::http::application::Application;
use crate::http::dispatch::Phase;
use crate::http::engine::Engine;
use crate::http::io_thread::{Control, IoThread};
use crate::http::listeners::Listener;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::scoreboard_rows::ScoreboardRows;
use crate::http::settings::{Limits, Settings, Timeouts};
use crate::http::shared_response::SharedResponse;
use crate::http::spool::Body;
use crate::http::unlock::{NoLock, Unlock};
use crate::ipc::Protocol;
use crate::log::request_log::RequestLogSettings;
use crate::shared::scoreboard::Scoreboard;

const PATIENCE: Duration = Duration::from_secs(20);
const LARGE: usize = 12 << 20;

/// The facts about the application's calls that the tests check.
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
}

fn answer(response: &mut Response, body: &[u8]) {
    response.head.start(b"200 OK").unwrap();
    response.set_length(body.len() as u64);
    // the write fails if the client is gone or the response is cut off, which some tests cause
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

/// The kinds of listeners of a server.
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
            lines: None,
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
            http_variables: [].into(),
            names_application: false,
        },
        timeouts: Timeouts {
            socket: PATIENCE,
            head: PATIENCE,
            body: PATIENCE,
            send: PATIENCE,
            keep_alive: PATIENCE,
        },
        header_rules: None,
        static_files: None,
        mount_points: Vec::new(),
        routes: None,
        final_routes: None,
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

/// Reads one HTTP response with a Content-Length, and returns its body.
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
