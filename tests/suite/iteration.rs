//! Response bodies as iterables: immediate blocks, `close()` called exactly once, exceptions, invalid blocks.

use std::io::Read;

use crate::kit::*;

fn server() -> Server {
    Site::with("iteration").server().start()
}

#[test]
fn lists_generators_and_iterators_are_sent() {
    let server = server();
    for path in [
        "/list",
        "/tuple",
        "/generator",
        "/iterator",
        "/sequence",
        "/set-up-late",
    ] {
        server.get(path).expect_text("one two three");
    }
    server.get("/bytes").expect_text("all at once");
}

#[test]
fn a_generator_may_start_the_response_late() {
    let answer = server().get("/set-up-late").expect_text("one two three");
    assert_eq!(answer.header("X-Late"), Some("1"));
}

#[test]
fn each_block_is_sent_at_once() {
    for (path, options) in [
        ("/gated-generator", "1"),
        ("/gated-iterator", "1"),
        ("/gated-generator", "2"),
    ] {
        let site = Site::with("iteration");
        let server = site
            .server()
            .set("threads", options)
            .set("enable-threads", "true")
            .start();
        let mut connection = server.ask(&get(path));
        connection.until("block 1");
        assert!(!site.has("gate-1"));
        site.write("gate-1", "");
        connection.until("block 2");
        site.write("gate-2", "");
        assert_eq!(connection.rest(), (b"block 3".to_vec(), true));
    }
}

#[test]
fn each_block_passes_an_unbuffered_nginx_at_once() {
    let site = Site::with("iteration");
    let server = site.server().start();
    let nginx = nginx::Nginx::with(&site, server.address(), "root", "uwsgi_buffering off;");
    let mut http = nginx.http();
    http.put("GET /gated-generator HTTP/1.1\r\nHost: x\r\n\r\n");
    http.connection.until("\r\n\r\n");
    assert_eq!(http.chunk().unwrap(), b"block 1");
    site.write("gate-1", "");
    assert_eq!(http.chunk().unwrap(), b"block 2");
    site.write("gate-2", "");
    assert_eq!(http.chunk().unwrap(), b"block 3");
    assert_eq!(http.chunk(), None);
}

#[test]
fn empty_blocks_do_not_end_the_body() {
    let server = server();
    server.get("/empty-blocks").expect_text("ab");
}

#[test]
fn a_block_that_is_not_bytes_is_an_error() {
    let mut server = server();
    for path in ["/str-block", "/int-block"] {
        let answer = server.get(path);
        assert!(
            !answer.text().contains("text") && !answer.text().contains('7'),
            "{path}: {answer:?}"
        );
    }
    server.expect_log(if under_uwsgi() {
        "Unhandled object"
    } else {
        "bytes"
    });
    server.get("/list").expect_text("one two three");
}

#[test]
fn close_is_called_exactly_once() {
    let server = server();
    let site = server.site.clone();
    let cases = [
        "/closing?normal",
        "/closing?empty",
        "/closing?list",
        "/closing?fails-first",
        "/closing?fails-later",
        "/closing?not-bytes",
        "/closing?too-long",
        "/closing?no-start",
        "/closing?bad-header",
    ];
    let mut server = server;
    for uri in cases {
        if under_uwsgi() && uri.ends_with("bad-header") {
            continue; // start_response raises in uWSGI, so there is nothing to close
        }
        server.exchange(&get(uri).bytes());
        let (_, case) = uri.split_once('?').unwrap();
        server.eventually(&format!("{case} is closed"), || {
            site.read("closed").contains(&format!("{case} GET\n"))
        });
    }
    server.send(&Request::new("HEAD", "/closing?normal"));
    server.eventually("HEAD is closed", || {
        site.read("closed").contains("normal HEAD\n")
    });
    // a later request on the same thread: every earlier `close()` call has happened
    server.get("/list").expect_text("one two three");
    let closed = site.read("closed");
    let mut lines: Vec<_> = closed.lines().collect();
    let count = lines.len();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), count, "closed twice: {closed}");
    server.expect_log("Traceback");
}

#[test]
fn close_is_called_after_a_disconnect() {
    let mut server = server();
    let site = server.site.clone();
    let mut connection = server.ask(&get("/closing?endless"));
    connection.read_exact(&mut [0; 1000]).unwrap();
    drop(connection);
    server.eventually("it is closed", || site.read("closed") == "endless GET\n");
    server.get("/list").expect_text("one two three");
    if under_uwsgi() {
        server.expect_log("write error");
    }
}

#[test]
fn a_generator_is_closed_after_a_disconnect() {
    let mut server = server();
    let site = server.site.clone();
    let mut connection = server.ask(&get("/endless-generator"));
    connection.read_exact(&mut [0; 1000]).unwrap();
    drop(connection);
    server.eventually("its finally ran", || site.has("generator-closed"));
    if under_uwsgi() {
        server.expect_log("write error");
    }
}

#[test]
fn a_client_that_has_left_is_noticed_between_empty_blocks() {
    if differs(
        "A client that has left is noticed while a generator gives empty blocks; uWSGI runs the generator to its end.",
    ) {
        return;
    }
    for address in ["quiet.sock", ":0"] {
        let site = Site::with("iteration");
        let server = match address {
            ":0" => {
                let address = format!("127.0.0.1:{}", free_port());
                site.server().set("http-socket", address).start()
            }
            path => site.server().set("socket", path).start(),
        };
        let connection = match address {
            ":0" => {
                let mut connection = server.http();
                connection.put("GET /quiet HTTP/1.1\r\nHost: x\r\n\r\n");
                connection.connection
            }
            _ => server.ask(&get("/quiet")),
        };
        server.eventually("the generator runs", || site.has("quiet"));
        assert!(!site.has("generator-closed"));
        drop(connection);
        server.eventually("its finally ran", || site.has("generator-closed"));
    }
}

#[test]
fn a_client_that_ends_its_sending_direction_still_gets_the_body() {
    let site = Site::with("iteration");
    let server = site
        .server()
        .set("socket", format!("127.0.0.1:{}", free_port()))
        .start();
    let mut connection = server.ask(&get("/quiet-at-first"));
    connection.end();
    site.write("gate", "");
    assert!(connection.rest().0.ends_with(b"the body"));
}

#[test]
fn an_exception_in_close_is_logged_and_has_no_other_effect() {
    let mut server = server();
    let workers = server.wait_for_workers(1);
    server.get("/bad-close").expect_text("sent");
    server.expect_log("close went wrong");
    server.get("/list").expect_text("one two three");
    assert_eq!(server.workers(), workers);
}

#[test]
fn an_exception_before_the_headers_is_a_500() {
    if differs(
        "An exception before the headers are sent gives a 500 response in text/plain; uWSGI closes the connection.",
    ) {
        return;
    }
    let mut server = server();
    let workers = server.wait_for_workers(1);
    for path in ["/raise", "/raise-after-start", "/raise-first", "/none"] {
        let answer = server.get(path).expect(500);
        assert!(
            answer
                .header("Content-Type")
                .is_some_and(|value| value.starts_with("text/plain")),
            "{answer:?}"
        );
        assert_eq!(
            answer.header("X-App"),
            None,
            "the application's headers are gone"
        );
        assert!(
            !answer.text().is_empty()
                && !answer.text().contains("Traceback")
                && !answer.text().contains("app.py")
        );
        assert!(answer.orderly);
    }
    server.expect_log("the application's own words");
    assert_eq!(server.workers(), workers);
}

#[test]
fn a_traceback_is_logged_once() {
    let mut server = server();
    let _ = server.connect().put(&get("/raise").bytes()).rest();
    server.expect_log("the application's own words");
    server.get("/list").expect_text("one two three");
    assert_eq!(
        server.log_lines("Traceback (most recent call last)").len(),
        1,
        "{}",
        server.log()
    );
    assert_eq!(
        server.log_lines("the application's own words").len(),
        1,
        "{}",
        server.log()
    );
}

#[test]
fn an_exception_after_the_headers_aborts_the_connection() {
    let mut server = Site::with("iteration")
        .server()
        .set("socket", format!("127.0.0.1:{}", free_port()))
        .start();
    let answer = server.get("/raise-later").expect(200);
    assert_eq!(answer.text(), "begun");
    server.expect_log("the application's own words");
    if differs(
        "An exception after the headers resets a TCP connection, so that no client takes the response as complete; uWSGI closes it normally.",
    ) {
        return;
    }
    assert!(!answer.orderly);
}

#[test]
fn nginx_reports_a_truncated_response_to_the_client() {
    let site = Site::with("iteration");
    let mut server = site.server().start();
    let nginx = nginx::Nginx::before(&site, server.address());
    let mut http = nginx.http();
    http.put("GET /raise-later?100 HTTP/1.1\r\nHost: x\r\n\r\n");
    http.connection.until("\r\n\r\n");
    let (body, _) = http.connection.rest();
    assert_eq!(body, b"begun", "less than Content-Length says");
    server.expect_log("the application's own words");
}

#[test]
fn system_exit_and_keyboard_interrupt_do_not_stop_the_service() {
    let mut server = server();
    for path in [
        "/keyboard-interrupt",
        "/system-exit",
        "/generator-exit",
        "/base-exception",
    ] {
        let _ = server.connect().put(&get(path).bytes()).rest();
        server.get("/list").expect_text("one two three");
    }
    server.expect_log("KeyboardInterrupt");
}

#[test]
fn an_application_that_kills_its_process_loses_only_its_request() {
    let mut server = server();
    let before = server.wait_for_workers(1);
    for path in ["/os-exit", "/abort", "/kill"] {
        let (answer, _) = server.connect().put(&get(path).bytes()).rest();
        assert!(answer.is_empty(), "{path}");
        server.get("/list").expect_text("one two three");
    }
    server.eventually("it was replaced", || {
        server.workers().len() == 1 && server.workers() != before
    });
    // abort() may log a report of the interpreter
    server.expect_log("");
}
