//! Requests that are accepted, and the values parsed from them.

use super::*;

fn get(target: &str) -> Owned {
    request(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes())
}

fn with(lines: &str) -> Owned {
    request(format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n").as_bytes())
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn a_browsers_request_is_read() {
    let text = "GET /admin/login/?next=/admin/ HTTP/1.1\r\nHost: www.example.org:8000\r\nUser-Agent: Mozilla/5.0 (X11)\r\n\
                Accept: text/html,*/*;q=0.8\r\nCookie: a=b; c=d\r\nConnection: keep-alive\r\n\r\n";
    let head = request(format!("{text}BODY OF THE NEXT").as_bytes());
    assert_eq!(
        head,
        Owned {
            head_len: text.len(),
            method: "GET".into(),
            target: "/admin/login/?next=/admin/".into(),
            path: b"/admin/login/".into(),
            query: "next=/admin/".into(),
            version: Version::Http11,
            headers: vec![
                pair("Host", "www.example.org:8000"),
                pair("User-Agent", "Mozilla/5.0 (X11)"),
                pair("Accept", "text/html,*/*;q=0.8"),
                pair("Cookie", "a=b; c=d"),
                pair("Connection", "keep-alive"),
            ],
            host: Some("www.example.org:8000".into()),
            framing: Framing::None,
            keep_alive: true,
            expect_continue: false,
        }
    );
}

#[test]
fn paths_are_resolved_raw_and_then_decoded_once() {
    for (target, path, query) in [
        ("/", "/", ""),
        ("/a", "/a", ""),
        ("//", "//", ""),
        ("/a//b", "/a//b", ""),
        ("/?", "/", ""),
        ("/?a=%zz&b=%00", "/", "a=%zz&b=%00"),
        ("/a?b?c/../d", "/a", "b?c/../d"),
        ("/a/../b", "/b", ""),
        ("/a/./b", "/a/b", ""),
        ("/a/.", "/a/", ""),
        ("/a/..", "/", ""),
        ("/a/b/..", "/a/", ""),
        ("/a/b/../", "/a/", ""),
        ("/.", "/", ""),
        ("/..", "/", ""),
        ("/../../etc/passwd", "/etc/passwd", ""),
        ("/a//../b", "/a/b", ""),
        ("/.hidden/..two/...", "/.hidden/..two/...", ""),
        ("/%2e%2e/a", "/../a", ""),
        ("/a/%2E%2e/b", "/a/../b", ""),
        ("/a%2Fb/../c", "/c", ""),
        ("/a%2fb", "/a/b", ""),
        ("/%2541", "/%41", ""),
        ("/a%20b%0A", "/a b\n", ""),
        ("/a+b", "/a+b", ""),
        ("/;p=1/a|b{c}[d]\\^`\"<>", "/;p=1/a|b{c}[d]\\^`\"<>", ""),
        ("/%3F%23?%3f", "/?#", "%3f"),
        ("http://h", "/", ""),
        ("http://h/", "/", ""),
        ("http://h?q", "/", "q"),
        ("HTTPS://H/a/../b?c", "/b", "c"),
    ] {
        let head = get(target);
        assert_eq!(
            (
                text(&head.path).as_str(),
                head.query.as_str(),
                head.target.as_str()
            ),
            (path, query, target),
            "{target}"
        );
    }
    assert_eq!(get("/caf%C3%A9").path, "/caf\u{e9}".as_bytes());
    assert_eq!(get("/caf\u{e9}").path, "/caf\u{e9}".as_bytes());
}

#[test]
fn options_may_ask_about_the_server_as_a_whole() {
    for target in ["*", "http://h"] {
        let head = request(format!("OPTIONS {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        assert_eq!(
            (head.path.as_slice(), head.target.as_str()),
            (&b""[..], target)
        );
    }
    assert_eq!(
        request(b"OPTIONS http://h?x HTTP/1.1\r\nHost: h\r\n\r\n").path,
        b"/"
    );
}

#[test]
fn the_host_is_the_absolute_targets_else_the_headers() {
    let host =
        |line: &str, header: &str| request(format!("GET {line}\r\n{header}\r\n").as_bytes()).host;
    assert_eq!(
        host(
            "http://Example.org:80/ HTTP/1.1",
            "Host: example.ORG:80\r\n"
        )
        .as_deref(),
        Some("Example.org:80")
    );
    assert_eq!(host("http://a/ HTTP/1.0", "").as_deref(), Some("a"));
    assert_eq!(host("/ HTTP/1.0", ""), None);
    assert_eq!(host("/ HTTP/1.0", "host:h\r\n").as_deref(), Some("h"));
    assert_eq!(host("/ HTTP/1.1", "HOST: \t h \r\n").as_deref(), Some("h"));
    for good in [
        "h",
        "h:",
        "h:65535",
        "127.0.0.1:80",
        "[::1]",
        "[::ffff:10.0.0.1]:80",
        "my_app-1.example.",
        "%C3%A9.fr",
        "xn--caf-dma.fr",
    ] {
        assert_eq!(
            host("/ HTTP/1.1", &format!("Host: {good}\r\n")).as_deref(),
            Some(good)
        );
    }
}

#[test]
fn one_empty_line_before_the_request_is_skipped() {
    let head = request(b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(
        (head.method.as_str(), head.head_len, head.host.as_deref()),
        ("GET", 29, Some("h"))
    );
}

#[test]
fn values_lose_the_white_space_around_them_and_nothing_else() {
    let head = with("A:1\r\nB: \t2 \t \r\nC:\r\nD: \r\nE: a \t b:c\r\nF: caf\u{e9}\r\n");
    let expected = [
        ("Host", "h"),
        ("A", "1"),
        ("B", "2"),
        ("C", ""),
        ("D", ""),
        ("E", "a \t b:c"),
        ("F", "caf\u{c3}\u{a9}"),
    ];
    assert_eq!(
        head.headers,
        expected.map(|(name, value)| pair(name, value))
    );
}

#[test]
fn headers_that_would_pose_as_others_are_left_out() {
    let head = with(
        "X_User: root\r\nContent_Length: 9\r\nTransfer_Encoding: chunked\r\nProxy: evil\r\nPROXY: evil\r\nX-User: me\r\n_: x\r\n",
    );
    assert_eq!(head.headers, [pair("Host", "h"), pair("X-User", "me")]);
    assert_eq!(head.framing, Framing::None);
}

#[test]
fn repeated_headers_stay_repeated_and_in_order() {
    let head = with("Cookie: a=1\r\nX: 1\r\ncookie: b=2\r\n");
    assert_eq!(
        head.headers[1..],
        [pair("Cookie", "a=1"), pair("X", "1"), pair("cookie", "b=2")]
    );
}

#[test]
fn the_body_is_as_long_as_the_head_says() {
    for (lines, framing) in [
        ("", Framing::None),
        ("Content-Length: 0\r\n", Framing::Length(0)),
        ("content-length:0042 \r\n", Framing::Length(42)),
        (
            "Content-Length: 9223372036854775807\r\n",
            Framing::Length(i64::MAX as u64),
        ),
        ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
        ("TRANSFER-ENCODING:\tChunked \r\n", Framing::Chunked),
    ] {
        assert_eq!(with(lines).framing, framing, "{lines:?}");
    }
}

#[test]
fn the_connection_stays_open_as_the_version_and_the_client_have_it() {
    for (version, lines, open) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: Upgrade, Close\r\n", false),
        (
            "1.1",
            "Connection: keep-alive\r\nConnection: close\r\n",
            false,
        ),
        ("1.1", "Connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let head = request(format!("GET / HTTP/{version}\r\nHost: h\r\n{lines}\r\n").as_bytes());
        assert_eq!(head.keep_alive, open, "{version} {lines:?}");
    }
}

#[test]
fn a_client_that_waits_for_continue_has_a_body_to_send() {
    let expects = |version: &str, lines: &str| {
        request(
            format!("POST / HTTP/{version}\r\nHost: h\r\nExpect: 100-Continue\r\n{lines}\r\n")
                .as_bytes(),
        )
        .expect_continue
    };
    assert!(expects("1.1", "Content-Length: 5\r\n"));
    assert!(expects("1.1", "Transfer-Encoding: chunked\r\n"));
    assert!(!expects("1.1", ""));
    assert!(!expects("1.1", "Content-Length: 0\r\n"));
    assert!(!expects("1.0", "Content-Length: 5\r\n"));
}

#[test]
fn methods_are_any_token_and_keep_their_case() {
    let longest = "M".repeat(32);
    for method in [
        "GET",
        "get",
        "PROPFIND",
        "M-SEARCH",
        "X!#$%&'*+-.^_`|~9",
        &longest,
    ] {
        assert_eq!(
            request(format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).method,
            method
        );
    }
}

#[test]
fn a_header_can_be_asked_for_by_name() {
    let bytes = b"GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\n\r\n";
    let Ok(Parsed::Complete(request)) = parse(bytes, &LIMITS, &mut Scan::default()) else {
        panic!("not complete");
    };
    assert_eq!(request.headers.get(b"X-a"), Some(&b"1"[..]));
    assert_eq!(request.headers.get(b"X-B"), None);
    assert_eq!(
        (&request.headers).into_iter().count(),
        request.headers.into_iter().count()
    );
}

#[test]
fn an_environ_key_is_the_headers_name_in_capitals() {
    let key = |name: &str| {
        let mut out = Vec::new();
        environ_name(name.as_bytes(), &mut out);
        text(&out)
    };
    assert_eq!(key("X-Foo-bar"), "HTTP_X_FOO_BAR");
    assert_eq!(key("content-type"), "CONTENT_TYPE");
    assert_eq!(key("Content-Length"), "CONTENT_LENGTH");
    assert_eq!(key("Content-Encoding"), "HTTP_CONTENT_ENCODING");
}

#[test]
fn a_head_that_is_not_complete_is_partial() {
    for bytes in [
        "",
        "\r",
        "\r\n",
        "G",
        "GET / HTTP/1.1",
        "GET / HTTP/1.1\r",
        "GET / HTTP/1.1\r\nHost: h\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\r",
    ] {
        assert_eq!(
            every_split(bytes.as_bytes(), &LIMITS),
            Ok(None),
            "{bytes:?}"
        );
    }
}
