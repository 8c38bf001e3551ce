//! Request and response bodies: sizes, wrong lengths, slow and vanished peers.

use std::io::{Read, Write};

use crate::kit::*;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A server that responds with the length and the CRC of the request body; other paths: see the application.
fn server() -> Server {
    Site::with("bodies").server().start()
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n * 31 + n / 251) as u8).collect()
}

/// CRC-32 as in zlib.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[test]
fn bodies_of_all_sizes_arrive() {
    let server = server();
    for size in [
        0,
        1,
        100,
        8 * KIB - 1,
        8 * KIB,
        8 * KIB + 1,
        64 * KIB,
        MIB,
        20 * MIB,
    ] {
        let body = pattern(size);
        let expected = format!("{size} {:08x}", crc(&body));
        server.send(&post("/sum", body)).expect_text(&expected);
    }
}

#[test]
fn a_body_of_4_gib_arrives() {
    if std::env::var_os("KIT_BIG").is_none() {
        eprintln!("skipped: needs KIT_BIG=1");
        return;
    }
    let server = Site::with("bodies").server().set("limit-spool", 0).start();
    let size = 4 * 1024 * MIB + 5;
    let mut connection = server.connect();
    connection.put(
        &post("/count", "")
            .var("CONTENT_LENGTH", size.to_string())
            .head(),
    );
    let zeros = vec![0; MIB];
    for _ in 0..size / MIB {
        connection.put(&zeros);
    }
    connection.put(&zeros[..size % MIB]);
    let answer = connection.answer().expect(200).text();
    let (count, memory) = answer.split_once(' ').unwrap();
    assert_eq!(count, size.to_string());
    assert!(
        memory.parse::<usize>().unwrap() < 200 * KIB,
        "the worker's memory peaked at {memory} KiB"
    );
}

#[test]
fn bodies_above_post_buffering_arrive() {
    let server = Site::with("bodies")
        .server()
        .set("post-buffering", 4096)
        .start();
    for size in [0, 4095, 4096, 4097, MIB] {
        let body = pattern(size);
        let expected = format!("{size} {:08x}", crc(&body));
        server.send(&post("/sum", body)).expect_text(&expected);
    }
}

#[test]
fn a_large_body_is_spooled_and_its_file_is_removed() {
    let site = Site::with("bodies");
    std::fs::create_dir(site.file("spool")).unwrap();
    let launch = site
        .server()
        .set("post-buffering", 8192)
        .envvar("TMPDIR", &site.at("spool"));
    let mut server = launch.start();
    server.send(&post("/sum", pattern(5 * MIB))).expect(200);
    let before = server.descriptors();
    server.send(&post("/sum", pattern(5 * MIB))).expect(200);
    drop(server.ask(&post("/sum", pattern(2 * MIB)).body(pattern(MIB))));
    server.get("/sum").expect(200);
    server.eventually("no more descriptors are open than before", || {
        server.descriptors() == before
    });
    assert_eq!(std::fs::read_dir(site.file("spool")).unwrap().count(), 0);
    if under_uwsgi() {
        server.expect_log("");
    }
}

#[test]
fn a_large_body_does_not_grow_the_worker() {
    if differs(
        "A large request body is spooled to a temporary file by default; uWSGI needs post-buffering for it.",
    ) {
        return;
    }
    let server = server();
    let peak = || -> usize {
        let line = proc::status(server.workers()[0], "VmHWM");
        line.split(' ').next().unwrap().parse().unwrap()
    };
    server.send(&post("/sum", pattern(MIB))).expect(200);
    let before = peak();
    server.send(&post("/sum", pattern(64 * MIB))).expect(200);
    assert!(
        peak() < before + 16 * KIB,
        "{before} KiB grew to {} KiB",
        peak()
    );
}

#[test]
fn without_a_content_length_the_body_is_empty() {
    let server = server();
    server.send(&get("/sum")).expect_text("0 00000000");
    server
        .send(&get("/sum").without("CONTENT_LENGTH"))
        .expect_text("0 00000000");
    server
        .send(&get("/sum").body("surplus"))
        .expect_text("0 00000000");
}

#[test]
fn no_more_than_content_length_is_read() {
    let server = server();
    let body = pattern(10);
    let expected = format!("10 {:08x}", crc(&body));
    let request = post("/sum", body);
    let surplus = [request.body.clone(), b"surplus".to_vec()].concat();
    server.send(&request.body(surplus)).expect_text(&expected);
}

#[test]
fn a_content_length_that_is_not_a_number_is_refused() {
    if differs(
        "A CONTENT_LENGTH that is too large or not all digits gets 400; uWSGI wraps it or reads it as 0.",
    ) {
        return;
    }
    let server = server();
    for value in [
        "-1",
        "+5",
        "5,5",
        "5 ",
        " 5",
        "0x5",
        "5.0",
        "five",
        "18446744073709551621",
        "99999999999999999999999",
    ] {
        server
            .send(&post("/sum", "hello").var("CONTENT_LENGTH", value))
            .expect(400);
    }
    server
        .send(&post("/sum", "hello").var("CONTENT_LENGTH", "05"))
        .expect(200);
}

#[test]
fn a_body_over_limit_post_is_refused() {
    let server = Site::with("bodies")
        .server()
        .set("limit-post", 1000)
        .start();
    server.send(&post("/sum", pattern(1000))).expect(200);
    if differs(
        "A request body larger than limit-post gets 413; uWSGI closes the connection without an answer.",
    ) {
        return;
    }
    for size in [1001, 5 * MIB] {
        let answer = server.send(&post("/sum", pattern(size))).expect(413);
        assert!(answer.orderly, "the answer arrived whole");
    }
    server.get("/sum").expect(200);
}

#[test]
fn the_response_to_an_unread_body_arrives() {
    for size in [1, 100, 70 * KIB, 5 * MIB] {
        if size > 1
            && differs(
                "A response sent before the request body is read reaches the client; uWSGI resets the connection.",
            )
        {
            return;
        }
        let server = server();
        let answer = server
            .send(&post("/ignore", pattern(size)))
            .expect_text("ignored");
        assert!(
            under_uwsgi() || answer.orderly,
            "no reset after {size} bytes unread"
        );
    }
}

#[test]
fn the_response_to_an_unread_body_passes_nginx() {
    let site = Site::with("bodies");
    let server = site.server().start();
    let nginx = nginx::Nginx::before(&site, server.address());
    for size in [70 * KIB, 5 * MIB] {
        if differs(
            "A response sent before the request body is read also reaches the client through nginx.",
        ) {
            return;
        }
        let mut http = nginx.http();
        let head = format!("POST /ignore HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n");
        http.put(head)
            .put(pattern(size))
            .answer()
            .expect_text("ignored");
    }
}

#[test]
fn a_slow_body_does_not_block_the_only_worker() {
    if differs("A slow request body occupies no worker; uWSGI's only worker waits for it.") {
        return;
    }
    let server = Site::with("bodies")
        .server()
        .set("socket-timeout", 60)
        .start();
    for size in [100, 100 * KIB] {
        let body = pattern(size);
        let mut slow = server.ask(&post("/sum", body.clone()).body(""));
        for part in body.chunks(size / 10) {
            slow.put(part);
            server.get("/sum").expect(200);
        }
        slow.answer()
            .expect_text(&format!("{size} {:08x}", crc(&body)));
    }
}

#[test]
fn idle_and_slow_connections_do_not_block_others() {
    if differs("Idle connections occupy no worker; uWSGI's only worker waits for the first one.") {
        return;
    }
    let server = Site::with("bodies")
        .server()
        .set("socket-timeout", 60)
        .start();
    let idle: Vec<Connection> = (0..500).map(|_| server.connect()).collect();
    let bytes = get("/sum").bytes();
    let mut trickling: Vec<Connection> = (0..10).map(|_| server.connect()).collect();
    for byte in &bytes[..20] {
        for connection in &mut trickling {
            connection.put(&[*byte]);
        }
        server.get("/sum").expect(200);
    }
    drop(idle);
    for connection in &mut trickling {
        connection.put(&bytes[20..]).answer().expect(200);
    }
}

#[test]
fn a_body_that_ends_early_is_an_error() {
    let mut server = server();
    let workers = server.wait_for_workers(1);
    for cut in [0, 1, 50 * KIB] {
        let body = pattern(100 * KIB);
        let mut connection = server.ask(&post("/sum", body.clone()).body(&body[..cut]));
        let (answer, _) = connection.end().rest();
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(!text.contains(" 200 "), "{text}");
    }
    if under_uwsgi() {
        server.expect_log("error during read");
    }
    server.get("/sum").expect(200);
    assert_eq!(server.workers(), workers);
}

#[test]
fn a_stalled_body_is_closed_after_a_timeout() {
    let mut server = Site::with("bodies")
        .server()
        .set("socket-timeout", 1)
        .set("client-body-timeout", 1)
        .start();
    let mut stalled = server.ask(&post("/sum", pattern(100)).body("begun"));
    let (answer, _) = stalled.rest();
    assert!(!String::from_utf8_lossy(&answer).contains(" 200 "));
    if under_uwsgi() {
        server.expect_log("timeout during read");
    }
    server.get("/sum").expect(200);
}

#[test]
fn disconnects_at_any_stage_affect_no_other_request() {
    let mut server = Site::with("bodies")
        .server()
        .set("socket-timeout", 60)
        .start();
    let workers = server.wait_for_workers(1);
    let descriptors = server.descriptors();
    let stages: [(&str, usize); 4] = [
        ("/sum", 0),
        ("/sum", 100 * KIB),
        ("/large", 0),
        ("/slices", 0),
    ];
    for (path, size) in stages {
        for _ in 0..5 {
            drop(server.connect());
            drop(server.ask(&post(path, pattern(200 * KIB)).body(pattern(size))));
            drop(server.ask(&get(path)));
            let mut connection = server.ask(&get(path));
            let mut first = [0; 100];
            connection.read_exact(&mut first[..10]).unwrap();
        }
    }
    server.get("/sum").expect(200);
    if under_uwsgi() {
        server.expect_log("write error");
        return;
    }
    assert_eq!(server.workers(), workers);
    server.eventually("no more descriptors are open than before", || {
        server.descriptors() <= descriptors
    });
}

#[test]
fn a_slow_reader_of_a_large_response_does_not_block_the_only_worker() {
    if differs(
        "A client that reads its response slowly occupies no worker once the application has finished; uWSGI's worker waits.",
    ) {
        return;
    }
    let server = Site::with("bodies")
        .server()
        .set("socket-timeout", 60)
        .start();
    let mut slow: Vec<Connection> = (0..3).map(|_| server.ask(&get("/large"))).collect();
    for connection in &mut slow {
        connection.until("\r\n\r\n");
    }
    for _ in 0..10 {
        server.get("/sum").expect(200);
    }
    for mut connection in slow {
        let (body, orderly) = connection.rest();
        assert_eq!((body.len(), orderly), (50 * MIB, true));
        assert!(body.iter().all(|&byte| byte == b'L'));
    }
}

#[test]
fn large_responses_arrive_complete() {
    let server = server();
    let answer = server.get("/large").expect(200);
    assert_eq!(answer.body.len(), 50 * MIB);
    let answer = server.get("/slices").expect(200);
    assert_eq!(answer.body.len(), 20 * MIB);
    assert!(
        answer
            .body
            .chunks(64 * KIB)
            .enumerate()
            .all(|(n, slice)| slice.iter().all(|&b| b == n as u8))
    );
}

#[test]
fn a_client_that_does_not_read_is_closed_after_a_timeout() {
    let mut server = Site::with("bodies")
        .server()
        .set("socket-timeout", 1)
        .set("client-send-timeout", 1)
        .start();
    let mut stuck = server.ask(&get("/slices"));
    if under_uwsgi() {
        server.expect_log("write error");
    }
    server.get("/sum").expect(200);
    server.eventually("the worker has closed the connection", || {
        let mut block = vec![0; MIB];
        // the client reads what its socket has buffered, and then the end before the whole body
        matches!(stuck.read(&mut block), Ok(0) | Err(_))
    });
}

#[test]
fn without_post_buffering_a_body_is_read_while_it_arrives() {
    let server = server();
    let body = pattern(300 * KIB);
    let mut connection = server.connect();
    let request = post("/echo", body.clone());
    connection.put(&request.head());
    for part in body.chunks(7000) {
        connection.write_all(part).unwrap();
    }
    assert!(connection.answer().expect(200).body == body);
}
