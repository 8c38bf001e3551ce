//! Isolation of requests: objects that an application keeps after a request do not affect another one.

use crate::kit::*;

fn on_http() -> Server {
    Site::with("isolation")
        .server()
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .start()
}

/// The error of a callable that the application calls after its request.
fn late(function: &str) -> String {
    format!("RuntimeError('{function} was called after its request had ended')")
}

#[test]
fn a_kept_start_response_raises_after_its_request() {
    if differs(
        "A start_response or write that the application keeps raises RuntimeError after its request; in uWSGI it acts on the request that the thread serves at that time.",
    ) {
        return;
    }
    let server = on_http();
    let mut connection = server.http();
    connection.get("/keep").expect_text("kept ");
    let answer = connection.get("/use-before-start").expect(200);
    assert_eq!(
        answer.text(),
        format!("{}\n{}", late("start_response"), late("write"))
    );
    assert_eq!(answer.header("X-Leak"), None);
    connection.get("/use-in-generator").expect_text(&format!(
        "begun\n{}\n{}",
        late("write"),
        late("start_response")
    ));
    connection.get("/next").expect_text("answer to next");
}

#[test]
fn a_weak_reference_does_not_lead_to_the_next_start_response() {
    if under_uwsgi() {
        return; // it does there
    }
    let server = on_http();
    let mut connection = server.http();
    connection.get("/keep-weakly").expect_text("kept");
    connection.get("/use-weakly").expect_text("False");
}

#[test]
fn threads_of_the_application_may_write_at_the_same_time() {
    if under_uwsgi() {
        return; // its write needs the serving thread
    }
    let server = on_http();
    for _ in 0..5 {
        let body = server.http().get("/write-in-threads").expect(200).body;
        let count = |byte| body.iter().filter(|it| **it == byte).count();
        assert_eq!((count(b'g'), count(b't')), (2_000_000, 6_000_000));
    }
}

#[test]
fn a_late_write_of_a_thread_does_not_reach_the_next_response() {
    if differs(
        "A thread that calls write after its request gets a RuntimeError; uWSGI sends its bytes to the client of another request.",
    ) {
        return;
    }
    let server = on_http();
    let mut connection = server.http();
    connection.get("/use-in-thread").expect_text("started");
    connection
        .get("/meanwhile")
        .expect_text(&format!("begun {}", late("write")));
}

#[test]
fn a_kept_environ_and_input_belong_to_their_request() {
    let server = Site::with("isolation").server().start();
    server
        .send(&post("/keep", "alice's body"))
        .expect_text("kept ali");
    let answer = server.send(&post("/use-input", "bob's"));
    if under_uwsgi() {
        // the kept input of uWSGI is at its end
        answer.expect(200);
    } else {
        answer.expect_text("ce's body bob's /use-input False");
    }
}

#[test]
fn a_slow_start_response_in_another_thread_does_not_block_the_response() {
    if under_uwsgi() {
        return;
    }
    for (path, body) in [("/slow-exc-info", "begun and done"), ("/slow-text", "done")] {
        let server = on_http();
        let mut connection = server.http();
        connection.get(path).expect_text(body);
        connection.get("/next").expect_text("answer to next");
        server.site.write("go", "");
    }
}

fn post_of(uri: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {uri} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn a_read_without_memory_raises_memory_error() {
    if under_uwsgi() {
        return;
    }
    let server = on_http();
    let worker = server.http().get("/pid").text();
    for method in ["read", "readline", "readlines"] {
        let request = post_of(&format!("/out-of-memory?{method}"), &vec![b'x'; 1_000_000]);
        let answer = server.http().put(request).answer().expect(200);
        assert_eq!(answer.text(), "MemoryError 1000000", "{method}");
    }
    assert_eq!(server.http().get("/pid").text(), worker);
}

#[test]
fn a_failed_allocation_costs_at_most_its_request() {
    if under_uwsgi() {
        return;
    }
    let mut server = on_http();
    let worker = server.http().get("/pid").text();
    for nth in 0..150 {
        let request = post_of(&format!("/failing-allocations?{nth}"), b"one\ntwo\nthree");
        // whatever it is, 200, 500 or a reset: the next request is served by the same worker
        let _ = server.http().put(request).connection.rest();
        // some allocations still fail in the request that follows
        server.eventually("the same worker answers", || {
            let answer = server.http().get("/pid");
            assert!(answer.status == 500 || answer.text() == worker);
            answer.status == 200
        });
    }
    server.expect_log("MemoryError");
    server.expect_log("Traceback");
    server.expect_log("panicked");
}
