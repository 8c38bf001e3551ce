//! The uwsgi protocol: valid and malformed packets.

use std::io::{Read, Write};

use serde_json::json;

use crate::kit::packet::packet;
use crate::kit::*;

/// A server that responds with its environ as JSON.
fn environ_server() -> Server {
    Site::with("environ").server().start()
}

#[test]
fn a_packet_split_at_any_byte_is_parsed() {
    let server = environ_server();
    let bytes = post("/split", "body").var("HTTP_X_LAST", "z").bytes();
    let step = 13;
    for at in (1..bytes.len()).filter(|at| *at < 12 || at % step == 0 || *at > bytes.len() - 8) {
        let mut connection = server.connect();
        connection.put(&bytes[..at]);
        // gives the server a chance to read the first part alone
        std::thread::yield_now();
        connection.put(&bytes[at..]);
        let answer = connection.answer().expect(200).json();
        assert_eq!(answer["HTTP_X_LAST"], "z", "split at {at}");
        assert_eq!(answer["body"], "body", "split at {at}");
    }
}

#[test]
fn a_packet_may_arrive_byte_by_byte() {
    let server = environ_server();
    let mut connection = server.connect();
    for byte in get("/slow").bytes() {
        connection.put(&[byte]);
    }
    assert_eq!(connection.answer().expect(200).json()["PATH_INFO"], "/slow");
}

#[test]
fn a_minimal_request_is_served() {
    let server = environ_server();
    let request = Request::bare().and("REQUEST_METHOD", "GET");
    let answer = server.send(&request).expect(200);
    assert_eq!(answer.json()["REQUEST_METHOD"], "GET");
    assert_eq!(answer.version, "HTTP/1.0");
}

#[test]
fn the_response_has_the_protocol_version_of_the_request() {
    let server = environ_server();
    assert_eq!(server.get("/").expect(200).version, "HTTP/1.1");
    assert_eq!(
        server
            .send(&get("/").var("SERVER_PROTOCOL", "HTTP/1.0"))
            .expect(200)
            .version,
        "HTTP/1.0"
    );
}

#[test]
fn an_empty_value_is_an_empty_string() {
    let server = environ_server();
    assert_eq!(
        server.send(&get("/").var("HTTP_X_EMPTY", "")).json()["HTTP_X_EMPTY"],
        ""
    );
}

#[test]
fn repeated_header_variables_are_joined() {
    if differs(
        "Repeated HTTP_* variables of a packet are joined, as repeated headers are; in uWSGI the last one wins.",
    ) {
        return;
    }
    let server = environ_server();
    for _ in 0..2 {
        let answer = server
            .send(
                &get("/")
                    .and("HTTP_X_TWICE", "first")
                    .var("HTTP_COOKIE", "a=1")
                    .and("HTTP_X_OTHER", "other")
                    .and("HTTP_X_TWICE", "")
                    .and("HTTP_COOKIE", "b=2")
                    .and("HTTP_X_TWICE", "last"),
            )
            .json();
        assert_eq!(answer["HTTP_X_TWICE"], "first, , last");
        assert_eq!(answer["HTTP_COOKIE"], "a=1; b=2");
        assert_eq!(answer["HTTP_X_OTHER"], "other");
        let single = server.send(&get("/").and("HTTP_X_TWICE", "one")).json();
        assert_eq!(single["HTTP_X_TWICE"], "one");
    }
}

#[test]
fn of_other_repeated_variables_the_first_wins() {
    if differs(
        "Of a repeated variable that is no header the first value is used, and logged once; in uWSGI the last one wins.",
    ) {
        return;
    }
    let mut server = environ_server();
    let request = get("/real?a=b")
        .var("SCRIPT_NAME", "/one")
        .var("REMOTE_USER", "real")
        .and("REMOTE_USER", "forged")
        .and("PATH_INFO", "/forged")
        .and("SCRIPT_NAME", "/two");
    for _ in 0..2 {
        let answer = server.send(&request).json();
        assert_eq!(answer["REMOTE_USER"], "real");
        assert_eq!(answer["PATH_INFO"], "/real");
        assert_eq!(answer["SCRIPT_NAME"], "/one");
    }
    for name in ["REMOTE_USER", "PATH_INFO", "SCRIPT_NAME"] {
        server.expect_log(&format!("sends {name} more than once"));
    }
}

#[test]
fn two_different_content_lengths_are_refused() {
    if differs(
        "A packet with two different values of CONTENT_LENGTH is refused with 400; uWSGI serves it.",
    ) {
        return;
    }
    let mut server = environ_server();
    server
        .send(&post("/", "12345").and("CONTENT_LENGTH", "3"))
        .expect(400);
    server.expect_log("two different values of CONTENT_LENGTH");
    let same = server.send(&post("/", "12345").and("CONTENT_LENGTH", "5"));
    assert_eq!(same.expect(200).json()["body"], "12345");
}

#[test]
fn a_long_header_name_is_not_kept_in_memory() {
    let server = environ_server();
    let worker = server.workers()[0];
    let request = |n: usize| {
        let name = format!("HTTP_N{n}_{}", "N".repeat(50_000));
        server.send(&get("/").and(&name, "1")).expect(200);
    };
    (0..20).for_each(request);
    let before = resident_kib(worker);
    (20..420).for_each(request);
    let grown = resident_kib(worker).saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB for 400 names of 50 kB");
}

fn resident_kib(pid: i32) -> u64 {
    let text = proc::status(pid, "VmRSS");
    text.trim_end_matches("kB").trim().parse().unwrap()
}

#[test]
fn bytes_are_decoded_as_latin_1() {
    let server = environ_server();
    let answer = server.send(&get("/").var("HTTP_X_BYTES", b"\x80caf\xc3\xa9\xff"));
    assert_eq!(answer.json()["HTTP_X_BYTES"], "\u{80}caf\u{c3}\u{a9}\u{ff}");
}

#[test]
fn several_hundred_variables_are_served() {
    if differs("A request can have any number of variables; uWSGI drops one with more than 128.") {
        return;
    }
    let server = environ_server();
    let request = (0..700).fold(get("/"), |request, n| {
        request.and(&format!("HTTP_X_{n}"), n.to_string())
    });
    let answer = server.send(&request).expect(200).json();
    assert!((0..700).all(|n| answer[format!("HTTP_X_{n}")] == json!(n.to_string())));
}

#[test]
fn variables_of_64_kib_are_served() {
    let server = environ_server();
    let request = get("/").filled_to(65_535);
    assert_eq!(request.block().len(), 65_535);
    server.send(&request).expect(200);
}

#[test]
fn a_packet_over_buffer_size_is_refused_and_its_largest_variable_logged() {
    if differs(
        "A packet larger than buffer-size gets 431 and a log line that names the largest variable; uWSGI closes the connection.",
    ) {
        return;
    }
    let server = Site::with("environ")
        .server()
        .set("buffer-size", 4096)
        .start();
    server.send(&get("/").filled_to(4096)).expect(200);
    server
        .send(&get("/").var("HTTP_COOKIE", vec![b'c'; 5000]))
        .expect(431);
    server.wait_for_log("HTTP_COOKIE");
    let lines = server.log_lines("HTTP_COOKIE");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("buffer-size"), "{lines:?}");
}

#[test]
fn an_empty_packet_has_no_effect() {
    let server = environ_server();
    for _ in 0..3 {
        server.connect().put(&[0, 0, 0, 0]).rest();
    }
    server.get("/").expect(200);
    server.wait_for_workers(1);
}

#[test]
fn a_malformed_packet_is_dropped_with_one_log_line() {
    let blocks: [&[u8]; 5] = [
        b"\xff\xffREQUEST_METHOD\x03\x00GET",
        b"\x0e\x00REQUEST_METHOD\xff\x00GET",
        b"\x0e\x00REQUEST_METHOD\x03\x00GE",
        b"\x0e\x00REQUEST_METHOD\x03",
        b"\x01",
    ];
    let mut server = environ_server();
    let workers = server.wait_for_workers(1);
    for block in blocks {
        let before = server.log().lines().count();
        let (bytes, _) = server.connect().put(&packet(0, block)).rest();
        if !under_uwsgi() {
            let status = answer::Answer::parse(bytes, true).status;
            assert!(status == 0 || status == 400, "{status}");
            server.eventually("there is one log line more", || {
                server.log().lines().count() > before
            });
        }
    }
    server.get("/").expect(200);
    assert_eq!(server.workers(), workers, "no worker was lost");
    assert!(server.exited().is_none());
}

#[test]
fn a_disconnect_within_a_packet_has_no_effect() {
    let server = environ_server();
    let workers = server.wait_for_workers(1);
    let bytes = get("/").bytes();
    for at in [0, 1, 3, 4, 5, 40, bytes.len() - 1] {
        server.connect().put(&bytes[..at]);
        let (answer, _) = server.connect().put(&bytes[..at]).end().rest();
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.0 400"),
            "cut at {at}: {answer:?}"
        );
    }
    server.get("/").expect(200);
    assert_eq!(server.workers(), workers);
}

#[test]
fn a_stalled_packet_is_closed_after_a_timeout() {
    let server = Site::with("environ")
        .server()
        .set("socket-timeout", 1)
        .set("client-header-timeout", 1)
        .start();
    let mut stalled = server.connect();
    stalled.put(&get("/").bytes()[..50]);
    let (answer, _) = stalled.rest();
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"),
        "{answer:?}"
    );
    server.get("/").expect(200);
}

#[test]
fn a_stalled_packet_does_not_block_the_only_worker() {
    if differs("An incomplete request occupies no worker; uWSGI's only worker waits for it.") {
        return;
    }
    let server = Site::with("environ")
        .server()
        .set("socket-timeout", 60)
        .start();
    let bytes = get("/late").bytes();
    let mut stalled: Vec<Connection> = (0..20).map(|_| server.connect()).collect();
    for (n, connection) in stalled.iter_mut().enumerate() {
        connection.put(&bytes[..n * 3]);
    }
    for _ in 0..20 {
        server.get("/").expect(200);
    }
    for (n, connection) in stalled.iter_mut().enumerate() {
        connection.put(&bytes[n * 3..]);
        assert_eq!(connection.answer().expect(200).json()["PATH_INFO"], "/late");
    }
}

#[test]
fn http_on_a_uwsgi_socket_is_explained() {
    if differs(
        "HTTP on a uwsgi socket gets a 400 page that explains the mistake, and a log line; uWSGI closes the connection.",
    ) {
        return;
    }
    let server = environ_server();
    for line in [
        "GET / HTTP/1.1",
        "POST /x HTTP/1.0",
        "HEAD / HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "DELETE /a HTTP/1.1",
    ] {
        let request = format!("{line}\r\nHost: localhost\r\n\r\n");
        let answer = server
            .connect()
            .put(request.as_bytes())
            .answer()
            .expect(400);
        assert!(answer.orderly, "{line}");
        if !line.starts_with("HEAD") {
            assert!(answer.text().contains("uwsgi"), "{}", answer.text());
        }
    }
    server.wait_for_log("HTTP");
    server.get("/").expect(200);
}

#[test]
fn a_tls_handshake_on_a_uwsgi_socket_has_no_effect() {
    let server = environ_server();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdefghijklmnopqrstuvwxyz012345";
    let mut connection = server.connect();
    connection.put(hello).end().rest();
    server.get("/").expect(200);
}

#[test]
fn a_second_packet_on_the_connection_is_not_read() {
    let server = environ_server();
    let mut bytes = get("/first").bytes();
    bytes.extend(get("/second").bytes());
    let mut connection = server.connect();
    let _ = connection.write_all(&bytes);
    let mut all = Vec::new();
    let _ = connection.read_to_end(&mut all);
    let text = String::from_utf8_lossy(&all);
    assert_eq!(text.matches("HTTP/1.1 200").count(), 1, "{text}");
    assert!(
        text.contains("/first") && !text.contains("/second"),
        "{text}"
    );
}

#[test]
fn a_ping_is_answered() {
    let server = environ_server();
    let (reply, orderly) = server.connect().put(&[100, 0, 0, 0]).rest();
    assert_eq!(reply, [100, 0, 0, 1]);
    assert!(orderly);
}

#[test]
fn other_modifiers_are_refused() {
    if differs(
        "Modifiers other than 0, 30 and 100 get 501 and are logged once; uWSGI executes or drops them.",
    ) {
        return;
    }
    let server = environ_server();
    for modifier in [5, 5, 5, 9, 17, 18, 22, 110, 111, 173, 224, 250, 255] {
        server.send(&get("/").modifier(modifier)).expect(501);
    }
    server.wait_for_log("modifier");
    let lines = server.log_lines("modifier 5 ").len() + server.log_lines("modifier 5,").len();
    assert!(lines <= 1, "logged once: {}", server.log());
    server.get("/").expect(200);
}

#[test]
fn modifier_30_removes_the_script_name_from_the_path() {
    if differs(
        "Modifier 30 removes SCRIPT_NAME from PATH_INFO, as documented; in uWSGI it has no effect on Python 3.",
    ) {
        return;
    }
    let server = environ_server();
    let request = get("/app/page").var("SCRIPT_NAME", "/app").modifier(30);
    let answer = server.send(&request).expect(200).json();
    assert_eq!(answer["SCRIPT_NAME"], "/app");
    assert_eq!(answer["PATH_INFO"], "/page");
    // SCRIPT_NAME is removed only if it is a prefix of whole segments
    let answer = server
        .send(&get("/apple").var("SCRIPT_NAME", "/app").modifier(30))
        .expect(200)
        .json();
    assert_eq!(answer["PATH_INFO"], "/apple");
}

#[test]
fn variables_that_select_code_are_refused() {
    if differs(
        "UWSGI_FILE, UWSGI_SCRIPT, UWSGI_MODULE, UWSGI_CALLABLE, UWSGI_CHDIR, UWSGI_PYHOME, UWSGI_SETENV and similar variables get 403 and are logged once; uWSGI obeys them.",
    ) {
        return;
    }
    let server = environ_server();
    let site = &server.site;
    site.write("evil.py", "open('evil', 'w').close()\ndef application(e, s):\n    s('200 OK', [])\n    return [b'evil']\n");
    for (name, value) in [
        ("UWSGI_FILE", site.at("evil.py")),
        ("UWSGI_FILE", format!("exec://touch {}", site.at("evil"))),
        ("UWSGI_SCRIPT", "evil".into()),
        ("UWSGI_MODULE", "evil".into()),
        ("UWSGI_CALLABLE", "application".into()),
        ("UWSGI_CHDIR", "/".into()),
        ("UWSGI_PYHOME", "/tmp".into()),
        ("UWSGI_HOME", "/tmp".into()),
        ("UWSGI_SETENV", "PATH=/tmp".into()),
        ("UWSGI_APPID", "/x".into()),
        ("UWSGI_TOUCH_RELOAD", site.at("evil.py")),
    ] {
        for _ in 0..2 {
            server.send(&get("/").and(name, &value)).expect(403);
        }
        server.wait_for_log(name);
        assert_eq!(
            server.log_lines(name).len(),
            1,
            "{name} is logged once:\n{}",
            server.log()
        );
    }
    assert!(!site.has("evil"));
    server.get("/").expect(200);
}

#[test]
fn a_request_cannot_forge_a_log_line() {
    let server = environ_server();
    let evil = "/x\n[pid: 1|app: 0|req: 1/1] forged\r\x1b[31mred\0end";
    let request = get("/")
        .var("REQUEST_URI", evil)
        .var("REMOTE_ADDR", "1.2.3.4\nforged")
        .var("REMOTE_USER", "me\nforged");
    server.send(&request.var("REQUEST_METHOD", "GET\nforged"));
    server.get("/done").expect(200);
    server.wait_for_log("/done");
    if differs(
        "Control characters of a request are escaped in the log; uWSGI writes them unchanged.",
    ) {
        return;
    }
    let log = server.log();
    assert!(
        !log.lines()
            .any(|line| line.trim_start().starts_with("forged") || line.starts_with("[pid: 1|")),
        "{log}"
    );
    assert!(
        !log.contains('\x1b') && !log.contains('\0') && !log.contains('\r'),
        "{log}"
    );
}

#[test]
fn a_refused_variable_cannot_forge_a_log_line() {
    if under_uwsgi() {
        return;
    }
    let server = environ_server();
    server.send(
        &get("/")
            .var("REQUEST_URI", "/a\nforged")
            .and("UWSGI_FILE", "x\nforged"),
    );
    server.send(&get("/").and("HTTP_A\nforged", "x").modifier(9));
    server.send(&get("/").var("CONTENT_LENGTH", "5\nforged"));
    server.get("/done").expect(200);
    server.wait_for_log("/done");
    assert!(
        !server.log().lines().any(|line| line.starts_with("forged")),
        "{}",
        server.log()
    );
}
