//! Isolation of requests: what an application keeps of one request cannot touch another one.

use crate::kit::*;

fn on_http() -> Server {
    Site::with("isolation")
        .server()
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .start()
}

/// The error of a callable that is used after its request.
fn late(function: &str) -> String {
    format!("RuntimeError('{function} was called after its request had ended')")
}

#[test]
fn a_start_response_that_is_kept_is_dead_after_its_request() {
    if differs(
        "A start_response or write that the application keeps raises RuntimeError after its request; in uWSGI it acts on the request that the thread serves at that time.",
    ) {
        return;
    }
    let server = on_http();
    let mut connection = server.http();
    connection.get("/keep").says("kept ");
    let answer = connection.get("/use-before-start").expect(200);
    assert_eq!(
        answer.text(),
        format!("{}\n{}", late("start_response"), late("write"))
    );
    assert_eq!(answer.header("X-Leak"), None);
    connection.get("/use-in-generator").says(&format!(
        "begun\n{}\n{}",
        late("write"),
        late("start_response")
    ));
    connection.get("/next").says("answer to next");
}

#[test]
fn a_thread_that_is_late_cannot_write_into_the_next_response() {
    if differs(
        "A thread that calls write after its request gets a RuntimeError; uWSGI sends its bytes to the client of another request.",
    ) {
        return;
    }
    let server = on_http();
    let mut connection = server.http();
    connection.get("/use-in-thread").says("started");
    connection
        .get("/meanwhile")
        .says(&format!("begun {}", late("write")));
}

#[test]
fn an_environ_and_an_input_that_are_kept_stay_those_of_their_request() {
    let server = Site::with("isolation").server().start();
    server.send(&post("/keep", "alice's body")).says("kept ali");
    let answer = server.send(&post("/use-input", "bob's"));
    if under_uwsgi() {
        // its input is at the end
        answer.expect(200);
    } else {
        answer.says("ce's body bob's /use-input False");
    }
}

#[test]
fn a_slow_start_response_of_another_thread_does_not_hold_the_response() {
    if under_uwsgi() {
        return;
    }
    for (path, body) in [("/slow-exc-info", "begun and done"), ("/slow-text", "done")] {
        let server = on_http();
        let mut connection = server.http();
        connection.get(path).says(body);
        connection.get("/next").says("answer to next");
        server.site.write("go", "");
    }
}
