//! Slow clients, and clients that leave or send more than their request.

use std::io::Read;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::kit::nginx::Nginx;
use crate::kit::*;

const BLOCK: usize = 65536;
/// Bytes of the body of a large response of the application.
const WHOLE: usize = 320 * BLOCK;

/// A server with an HTTP socket, a uwsgi socket, and these options. Each request has a log line `line: URI STATUS SIZE WERR`.
fn server(options: &[(&str, &str)]) -> Server {
    Site::with("slow_clients")
        .server()
        .set("socket", "app.sock")
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .set("log-format", "line: %(uri) %(status) %(size) %(werr)")
        .set_all(options)
        .start()
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

/// Requests a large response over HTTP and reads its beginning only.
fn begin(server: &Server, path: &str) -> Connection {
    let mut http = server.http();
    http.put(request(path));
    http.connection.read_exact(&mut [0; 1000]).unwrap();
    http.connection
}

/// The words of the log line of this URI.
fn logged(server: &Server, uri: &str) -> Vec<String> {
    let start = format!("line: {uri} ");
    server.wait_for_log(&start);
    let line = server.log_lines(&start).remove(0);
    line.split(' ').map(str::to_owned).collect()
}

/// Bytes of the rest of a response, and whether it ended with an end of file.
fn rest(connection: &mut Connection) -> (usize, bool) {
    let (bytes, orderly) = connection.rest();
    (bytes.len(), orderly)
}

#[test]
fn a_reader_may_pause_for_longer_than_socket_timeout() {
    if differs(
        "socket-timeout ends a response only while its application waits; otherwise a client may take nothing for five minutes (client-send-timeout). uWSGI ends it after socket-timeout.",
    ) {
        return;
    }
    let server = server(&[("socket-timeout", "1")]);
    let mut readers: Vec<_> = ["/length", "/stream", "/file"]
        .map(|path| begin(&server, path))
        .into();
    let mut over_uwsgi = server.ask(&get("/stream"));
    over_uwsgi.read_exact(&mut [0; 1000]).unwrap();
    readers.push(over_uwsgi);
    std::thread::sleep(Duration::from_millis(2500));
    for reader in &mut readers {
        let (bytes, orderly) = rest(reader);
        assert!(bytes + 1000 > WHOLE && orderly, "{bytes}");
    }
    for uri in ["/length", "/file"] {
        let line = logged(&server, uri);
        let size: usize = line[3].parse().unwrap();
        assert!(size > WHOLE && line[4] == "0", "{line:?}");
    }
}

#[test]
fn a_response_that_is_cut_is_logged_with_its_size_and_reset() {
    if differs("A response that is cut is logged with the bytes that the client has got.") {
        return;
    }
    let options = [
        ("client-send-timeout", "1"),
        ("disable-logging", "true"),
        ("log-ioerror", "true"),
    ];
    let server = server(&options);
    for uri in ["/length", "/stream", "/file"] {
        let mut reader = begin(&server, uri);
        server.wait_for_log(&format!("GET {uri}: the response is cut after"));
        let line = logged(&server, uri);
        let (bytes, orderly) = rest(&mut reader);
        assert!(!orderly, "{uri} ended as if it were complete");
        assert_eq!(line[3], (bytes + 1000).to_string(), "{line:?}");
        assert_eq!((&line[2][..], &line[4][..]), ("200", "1"));
    }
    server.wait_for_log("bytes: the client took nothing for 1 s (client-send-timeout)");
    let status = server.command(&["status", "site", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert!(
        status.to_string().contains("\"cut_responses\":3"),
        "{status}"
    );
    let mut reader = server.http();
    reader.get("/hello").expect_text("hello");
    assert!(server.log_lines("line: /hello").is_empty());
}

#[test]
fn a_client_that_leaves_is_logged_with_what_it_got() {
    if differs("A client that leaves before it has taken its response is logged with what it got.")
    {
        return;
    }
    let server = server(&[("disable-logging", "true"), ("log-ioerror", "true")]);
    drop(begin(&server, "/length"));
    let line = logged(&server, "/length");
    let size: usize = line[3].parse().unwrap();
    assert!(size < WHOLE && line[4] == "1", "{line:?}");
    // the client's doing, so no message
    assert!(server.log_lines("is cut after").is_empty());
}

#[test]
fn nginx_does_not_take_a_cut_response_for_complete() {
    if differs(
        "nginx reports a response without a length that is cut as an error; with uWSGI its client gets the fragment as a complete response.",
    ) {
        return;
    }
    for address in ["cut.sock", ":0"] {
        let site = Site::with("slow_clients");
        let address = match address {
            ":0" => format!("127.0.0.1:{}", free_port()),
            path => path.to_owned(),
        };
        let launch = site.server().set("socket", address);
        let server = launch.set("client-send-timeout", 1).start();
        // nginx reads no more than its client takes
        let more = "uwsgi_max_temp_file_size 0; uwsgi_read_timeout 3s; send_timeout 30s;";
        let nginx = Nginx::with(&site, server.address(), "root", more);
        let mut http = nginx.http();
        http.put("GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        http.connection.read_exact(&mut [0; 1000]).unwrap();
        server.wait_for_log("GET /stream: the response is cut after");
        let (bytes, _) = http.connection.rest();
        assert!(bytes.len() < WHOLE, "{}", bytes.len());
        assert!(
            !bytes.ends_with(b"0\r\n\r\n"),
            "the fragment ended as a complete response"
        );
        wait::eventually("nginx logs an error", || {
            let errors = nginx.errors();
            errors.contains("upstream timed out") || errors.contains("reset by peer")
        });
        server.get("/hello").expect_text("hello");
    }
}

#[test]
fn a_reload_does_not_complete_a_response_that_is_cut() {
    if under_uwsgi() {
        return; // uWSGI closes the connection of a response that it cuts
    }
    let launch = Site::with("slow_clients").server();
    let launch = launch.set("socket", "app.sock");
    let server = launch.set("client-send-timeout", 1).start();
    let mut reader = server.ask(&get("/stream"));
    reader.read_exact(&mut [0; 1000]).unwrap();
    server.wait_for_log("GET /stream: the response is cut after");
    let old = server.workers();
    server.signal(Signal::SIGHUP);
    server.wait_for_log("reloaded: generation 2");
    // heads are dropped after a second
    reader.set_timeout(Duration::from_millis(2500));
    let error = loop {
        match reader.read(&mut [0; BLOCK]) {
            Ok(0) => panic!("the fragment ended as a complete response"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    server.get("/hello").expect_text("hello");
    drop(reader);
    wait::eventually("the old worker exits", || {
        server.workers().iter().all(|pid| !old.contains(pid))
    });
}

#[test]
fn a_slow_request_gets_408_and_a_line_with_the_option() {
    if differs(
        "A request that stops arriving gets 408; uWSGI closes the connection, or fails the read of wsgi.input.",
    ) {
        return;
    }
    let options = [("client-header-timeout", "1"), ("client-body-timeout", "1")];
    let server = server(&options);
    let post = "POST /hello HTTP/1.1\r\nHost: x\r\n";
    for (uri, sent, option) in [
        ("head", post.to_owned(), "client-header-timeout"),
        (
            "length",
            format!("{post}Content-Length: 100\r\n\r\n0123456789"),
            "after 10 of 100 bytes (client-body-timeout)",
        ),
        (
            "chunks",
            format!("{post}Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n"),
            "after 5 bytes (client-body-timeout)",
        ),
    ] {
        let mut slow = server.http();
        let answer = slow.put(sent).answer();
        assert_eq!((answer.status, uri), (408, uri));
        assert!(slow.is_closed());
        server.wait_for_log(option);
    }
    let bytes = kit_post().bytes();
    for cut in [20, bytes.len() - 50] {
        let answer = server.connect().put(&bytes[..cut]).answer();
        assert_eq!(answer.status, 408, "{cut}");
    }
    server.wait_for_lines("refused a request with 408", 5);
    // a connection without a byte has made no request
    assert!(server.http().is_closed());
    assert_eq!(server.log_lines("refused a request with 408").len(), 5);
}

fn kit_post() -> Request {
    post("/hello", vec![b'x'; 100])
}

#[test]
fn an_upload_may_pause_for_longer_than_socket_timeout() {
    if differs("An upload may pause for five minutes (client-body-timeout).") {
        return;
    }
    let server = server(&[("socket-timeout", "1")]);
    let mut over_http = server.http();
    over_http.put("POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234");
    let mut head = server.http();
    head.put("GET /hello HTTP/1.1\r\nHost: ");
    let mut silent = server.http();
    let bytes = kit_post().bytes();
    let mut over_uwsgi = server.connect();
    over_uwsgi.put(&bytes[..bytes.len() - 50]);
    std::thread::sleep(Duration::from_millis(2500));
    over_http.put("56789").answer().expect_text("hello");
    head.put("x\r\n\r\n").answer().expect_text("hello");
    silent.get("/hello").expect_text("hello");
    over_uwsgi
        .put(&bytes[bytes.len() - 50..])
        .answer()
        .expect_text("hello");
}

#[test]
fn a_client_that_still_sends_gets_the_whole_response() {
    if differs("A client that sends more than its request gets its response and no reset.") {
        return;
    }
    let options = [("limit-post", "1000"), ("client-send-timeout", "20")];
    let server = server(&options);
    let surplus = vec![b'x'; 20 << 20];
    let too_long = format!(
        "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        surplus.len()
    );
    // the server does not read while it sends
    let some = &surplus[..120 << 10];
    for (head, surplus, status) in [
        (too_long, &surplus[..], 413),
        ("bad request\r\n\r\n".to_owned(), &surplus, 400),
        (request("/hello"), &surplus, 200),
        ("GET /hello HTTP/1.0\r\n\r\n".to_owned(), &surplus, 200),
        (request("/length"), some, 200),
    ] {
        let mut http = server.http();
        http.put(&head).put(surplus);
        let (bytes, orderly) = http.connection.rest();
        let text = String::from_utf8_lossy(&bytes[..40]).into_owned();
        assert!(text.contains(&format!(" {status} ")), "{text}");
        assert!(orderly, "{head}: reset after {} bytes", bytes.len());
        assert!(!head.contains("/length") || bytes.len() > WHOLE);
    }
    let mut over_uwsgi = server.connect();
    over_uwsgi.put(&[&get("/length").bytes()[..], some].concat());
    let (bytes, orderly) = rest(&mut over_uwsgi);
    assert!(bytes > WHOLE && orderly, "{bytes}");
}

#[test]
fn a_client_that_stays_after_its_response_is_closed() {
    if under_uwsgi() {
        return; // uWSGI does not wait for clients after their responses
    }
    let server = server(&[]);
    server.get("/hello").expect_text("hello");
    let descriptors = server.descriptors();
    let mut http = server.http();
    http.put("bad request\r\n\r\n");
    http.connection.until("\n\r\n");
    assert!(server.descriptors() > descriptors);
    server.eventually("the connection is closed", || {
        server.descriptors() <= descriptors
    });
}
