//! HTTP/1.1: keep-alive, lengths and chunks, refusals.

use crate::kit::*;

fn server() -> Server {
    server_on("http-socket")
}

fn server_on(option: &str) -> Server {
    Site::with("environ")
        .server()
        .set(option, format!("127.0.0.1:{}", free_port()))
        .start()
}

const CHUNKED: &str = "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_request_has_the_environ_of_a_web_server() {
    for option in ["http", "http-socket", "http11-socket"] {
        let server = server_on(option);
        let request = "GET /caf%C3%A9/x%20y?q=%41&b HTTP/1.1\r\nHost: example.com:81\r\nX-Own: one\r\n\
                       User-Agent: kit\r\nAccept: */*\r\nConnection: close\r\n\r\n";
        let answer = server.http().put(request).answer().expect(200).json();
        for (key, value) in [
            ("REQUEST_METHOD", "GET"),
            ("PATH_INFO", "/caf\u{c3}\u{a9}/x y"),
            ("REQUEST_URI", "/caf%C3%A9/x%20y?q=%41&b"),
            ("QUERY_STRING", "q=%41&b"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("HTTP_HOST", "example.com:81"),
            ("HTTP_X_OWN", "one"),
            ("HTTP_USER_AGENT", "kit"),
            ("SCRIPT_NAME", ""),
            ("wsgi.url_scheme", "http"),
        ] {
            assert_eq!(answer[key], value, "{option}: {key}");
        }
        let port = answer["SERVER_PORT"].as_str().unwrap();
        assert!(!answer["SERVER_NAME"].as_str().unwrap().is_empty());
        assert!(port.parse::<u16>().is_ok(), "{port}");
    }
}

#[test]
fn a_body_with_a_length_arrives() {
    let server = server();
    let body = "z".repeat(100_000);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let answer = server
        .http()
        .put(head)
        .put(&body)
        .answer()
        .expect(200)
        .json();
    assert_eq!(answer["body"], body);
    assert_eq!(answer["CONTENT_LENGTH"], "100000");
}

#[test]
fn a_connection_is_kept_alive() {
    if differs(
        "http and http-socket keep HTTP/1.1 connections open; uWSGI closes them after one request.",
    ) {
        return;
    }
    for option in ["http", "http-socket"] {
        let server = server_on(option);
        let mut http = server.http();
        for n in 0..20 {
            assert_eq!(
                http.get(&format!("/{n}")).expect(200).json()["PATH_INFO"],
                format!("/{n}")
            );
        }
        let length = "POST /l HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody";
        assert_eq!(http.put(length).answer().expect(200).json()["body"], "body");
        assert_eq!(http.get("/after").expect(200).json()["PATH_INFO"], "/after");
        http.put("GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .answer()
            .expect(200);
        assert!(http.is_closed());
    }
}

#[test]
fn an_idle_keep_alive_connection_does_not_block_the_only_worker() {
    if under_uwsgi() {
        return; // uWSGI does not keep connections open
    }
    let server = server();
    let mut kept: Vec<_> = (0..50).map(|_| server.http()).collect();
    for http in &mut kept {
        http.get("/").expect(200);
    }
    for http in kept.iter_mut().rev() {
        http.get("/again").expect(200);
    }
}

#[test]
fn http_1_0_is_closed_and_not_chunked() {
    let server = server();
    let mut http = server.http();
    let answer = http.put("GET / HTTP/1.0\r\n\r\n").answer().expect(200);
    assert_eq!(answer.header("Transfer-Encoding"), None);
    assert!(!answer.body.is_empty() && http.is_closed());
}

#[test]
fn a_chunked_body_arrives() {
    if differs(
        "A chunked request body is decoded into wsgi.input; uWSGI does not put it into wsgi.input.",
    ) {
        return;
    }
    let server = server();
    let mut http = server.http();
    for chunks in [
        "4\r\nwiki\r\n5\r\npedia\r\n0\r\n\r\n",
        "9;ext=1\r\nwikipedia\r\n0\r\nTrailer: x\r\n\r\n",
        "09\r\nwikipedia\r\n000\r\n\r\n",
    ] {
        let answer = http.put(CHUNKED).put(chunks).answer().expect(200).json();
        assert_eq!(answer["body"], "wikipedia");
    }
    let mut http = server.http();
    http.put(CHUNKED);
    for byte in "4\r\nwiki\r\n5\r\npedia\r\n0\r\n\r\n".bytes() {
        http.put([byte]);
    }
    assert_eq!(http.answer().expect(200).json()["body"], "wikipedia");
}

#[test]
fn an_empty_chunked_body_is_empty() {
    let server = server();
    let mut http = server.http();
    let request = CHUNKED.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    assert_eq!(
        http.put(request)
            .put("0\r\n\r\n")
            .answer()
            .expect(200)
            .json()["body"],
        ""
    );
}

#[test]
fn a_body_of_unknown_length_is_chunked() {
    if differs(
        "A response without a length is sent chunked to an HTTP/1.1 client; uWSGI closes the connection after it.",
    ) {
        return;
    }
    let server = Site::with("iteration")
        .server()
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .start();
    let mut http = server.http();
    let answer = http.get("/generator").expect_text("one two three");
    assert_eq!(answer.header("Transfer-Encoding"), Some("chunked"));
    http.get("/list").expect_text("one two three");
    let answer = http
        .put("GET /generator HTTP/1.0\r\n\r\n")
        .answer()
        .expect_text("one two three");
    assert_eq!(answer.header("Transfer-Encoding"), None);
}

#[test]
fn an_exception_truncates_a_chunked_body() {
    if under_uwsgi() {
        return; // uWSGI does not send chunked bodies
    }
    let launch = Site::with("iteration")
        .server()
        .set("http-socket", format!("127.0.0.1:{}", free_port()));
    let mut server = launch.start();
    let mut http = server.http();
    http.put("GET /raise-later HTTP/1.1\r\nHost: x\r\n\r\n");
    http.connection.until("\r\n\r\n");
    let (rest, _) = http.connection.rest();
    assert!(
        !String::from_utf8_lossy(&rest).contains("\r\n0\r\n"),
        "no last chunk: {rest:?}"
    );
    server.expect_log("the application's own words");
}

#[test]
fn expect_100_continue_is_answered() {
    if differs(
        "Expect: 100-continue is answered before the body is read; uWSGI ignores it on http-socket.",
    ) {
        return;
    }
    let server = server();
    let mut http = server.http();
    http.put("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(http.answer().status, 100);
    assert_eq!(http.put("body").answer().expect(200).json()["body"], "body");
    http.get("/kept").expect(200);
}

#[test]
fn a_response_to_head_has_no_body() {
    if differs("The response to a HEAD request over HTTP has no body; uWSGI sends the body.") {
        return;
    }
    let server = server();
    let mut http = server.http();
    http.put("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(http.answer_to("HEAD").expect(200).body, b"");
    http.get("/after").expect(200);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    if differs("Pipelined HTTP requests are answered in order; uWSGI answers the first and closes.")
    {
        return;
    }
    let server = server();
    let mut http = server.http();
    let request =
        |n: usize| format!("POST /{n} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{n}");
    http.put((0..8).map(request).collect::<String>());
    for n in 0..8 {
        let answer = http.answer().expect(200).json();
        assert_eq!(
            (answer["PATH_INFO"].clone(), answer["body"].clone()),
            (format!("/{n}").into(), n.to_string().into())
        );
    }
}

#[test]
fn a_client_that_pipelines_leaves_a_turn_to_the_others() {
    if under_uwsgi() {
        return; // uWSGI does not keep connections open
    }
    let site = Site::with("iteration");
    let launch = site.server();
    let launch = launch.set("http-socket", format!("127.0.0.1:{}", free_port()));
    let server = launch.set("log-format", "line: %(uri)").start();
    let request = |uri: &str| format!("GET {uri} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut first = server.http();
    first.put(request("/gated-generator") + &request("/generator?first").repeat(100));
    first.connection.until("block 1");
    let mut second = server.http();
    second.put(request("/generator?second"));
    site.write("gate-1", "");
    site.write("gate-2", "");
    second.answer().expect(200);
    first.connection.until("block 3");
    first.connection.until("\r\n\r\n");
    for _ in 0..100 {
        first.answer().expect(200);
    }
    let lines = server.log_lines("line: /generator?");
    let turn = lines.iter().position(|line| line.ends_with("second"));
    assert!(turn.is_some_and(|turn| turn < 3), "{turn:?}");
}

#[test]
fn an_unread_body_is_not_parsed_as_the_next_request() {
    if under_uwsgi() {
        return; // uWSGI does not keep connections open
    }
    let launch = Site::with("bodies")
        .server()
        .set("http-socket", format!("127.0.0.1:{}", free_port()));
    let server = launch.start();
    let mut http = server.http();
    for _ in 0..3 {
        let smuggled = "GET /sum HTTP/1.1\r\nHost: x\r\n\r\n";
        let head = format!(
            "POST /ignore HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            smuggled.len()
        );
        http.put(head).put(smuggled).answer().expect_text("ignored");
    }
    http.get("/sum").expect_text("0 00000000");
}

#[test]
fn malformed_requests_are_refused() {
    if differs(
        "Malformed HTTP gets 400 and the connection is closed; uWSGI passes much of it to the application.",
    ) {
        return;
    }
    let server = server();
    for request in [
        "asdf\r\n\r\n",
        "GET\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/1.1\nHost: x\n\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\ntransfer-encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: y\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n: c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        "G<T / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / x HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1x\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5 x\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloworld\r\n0\r\n\r\n",
    ] {
        let mut http = server.http();
        let answer = http.put(request).answer();
        assert_eq!(
            answer.status,
            400,
            "{request:?} got {:?}",
            String::from_utf8_lossy(&answer.raw)
        );
        assert!(http.is_closed(), "{request:?}");
    }
    let mut http = server.http();
    http.put("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n");
    assert!(matches!(http.answer().status, 400 | 501));
    server.http().get("/").expect(200);
}

#[test]
fn more_header_lines_than_limit_headers_are_refused() {
    if differs("An HTTP request with more than limit-headers (100) header lines gets 431.") {
        return;
    }
    for (limit, option) in [(100, None), (7, Some(7))] {
        let address = format!("127.0.0.1:{}", free_port());
        let launch = Site::with("environ").server().set("http-socket", address);
        let launch = match option {
            Some(limit) => launch.set("limit-headers", limit),
            None => launch,
        };
        let mut server = launch.start();
        let request = |count: usize| {
            format!(
                "GET / HTTP/1.1\r\n{}Host: x\r\n\r\n",
                "X: y\r\n".repeat(count - 1)
            )
        };
        server.http().put(request(limit)).answer().expect(200);
        server.http().put(request(limit + 1)).answer().expect(431);
        server.expect_log("more header lines than limit-headers");
    }
}

#[test]
fn a_head_over_buffer_size_is_refused() {
    if differs(
        "An HTTP request head larger than buffer-size gets 431; uWSGI closes the connection without an answer.",
    ) {
        return;
    }
    let server = Site::with("environ")
        .server()
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .set("buffer-size", 4096)
        .start();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n",
        "v".repeat(10_000)
    );
    server.http().put(request).answer().expect(431);
    server.http().get("/").expect(200);
}

#[test]
fn a_header_with_an_underscore_is_not_confused_with_one_with_a_dash() {
    if differs(
        "A header with an underscore in its name is dropped, as in nginx; uWSGI treats X_User as X-User.",
    ) {
        return;
    }
    let server = server();
    let request = "GET / HTTP/1.1\r\nHost: x\r\nX_User: evil\r\nProxy: http://evil/\r\n\r\n";
    let answer = server.http().put(request).answer().expect(200).json();
    assert!(answer["HTTP_X_USER"].is_null() && answer["HTTP_PROXY"].is_null());
}

#[test]
fn repeated_headers_are_joined() {
    let server = server();
    let request = "GET / HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nX-A: 2\r\nConnection: close\r\n\r\n";
    assert_eq!(
        server.http().put(request).answer().expect(200).json()["HTTP_X_A"],
        "1, 2"
    );
    if differs(
        "Repeated Cookie headers are joined with a semicolon; uWSGI joins them with a comma.",
    ) {
        return;
    }
    let request = "GET / HTTP/1.1\r\nHost: x\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n";
    assert_eq!(
        server.http().put(request).answer().expect(200).json()["HTTP_COOKIE"],
        "a=1; b=2"
    );
}

#[test]
fn an_incomplete_head_does_not_block_the_only_worker() {
    if differs(
        "An incomplete HTTP request occupies no worker; with http-socket uWSGI's only worker waits for it.",
    ) {
        return;
    }
    let server = server();
    let mut slow: Vec<_> = (0..20).map(|_| server.http()).collect();
    for http in &mut slow {
        http.put("GET /slow HTTP/1.1\r\nHo");
    }
    server.http().get("/").expect(200);
    for http in &mut slow {
        assert_eq!(
            http.put("st: x\r\n\r\n").answer().expect(200).json()["PATH_INFO"],
            "/slow"
        );
    }
}

#[test]
fn every_http_request_has_the_configured_variables() {
    let site = Site::of(
        "def application(e, s):\n s('200 OK', [])\n return [('%s %s' % (e.get('SITE'), e.get('HTTP_X_TENANT'))).encode()]\n",
    );
    let port = free_port();
    let server = site
        .server()
        .set("http", format!("127.0.0.1:{port}"))
        .set("http-to", site.at("app.sock"))
        .set("socket", site.at("app.sock"))
        .set("http-var", "SITE=blog")
        .set("http-var", "HTTP_X_TENANT=one")
        .start();
    let mut http = server.http();
    http.put("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(http.answer().expect(200).text(), "blog one");
    if differs("A client cannot set a variable of http-var; in uWSGI its header has priority.") {
        return;
    }
    http.put("GET / HTTP/1.1\r\nHost: a\r\nX-Tenant: two\r\n\r\n");
    assert_eq!(http.answer().expect(200).text(), "blog one");
    server.get("/").expect_text("None None");
}
