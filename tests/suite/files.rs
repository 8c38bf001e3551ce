//! Files as response bodies: `wsgi.file_wrapper`.

use crate::kit::*;

const SIZE: usize = 3_000_000;

fn content() -> Vec<u8> {
    (0..SIZE).map(|n| (n / 7 % 251) as u8).collect()
}

fn server() -> Server {
    let site = Site::with("files");
    std::fs::write(site.file("data"), content()).unwrap();
    site.server().start()
}

#[test]
fn a_file_is_sent_completely() {
    let server = server();
    for uri in ["/whole", "/with-length", "/block-size"] {
        assert!(server.get(uri).expect(200).body == content(), "{uri}");
    }
}

#[test]
fn a_file_is_sent_from_its_position() {
    if differs(
        "wsgi.file_wrapper sends a file from its current position and at most Content-Length bytes; uWSGI sends the whole file.",
    ) {
        return;
    }
    let server = server();
    let content = content();
    assert!(server.get("/from?1000").expect(200).body == content[1000..]);
    assert!(
        server
            .get(&format!("/from?{SIZE}"))
            .expect(200)
            .body
            .is_empty()
    );
    let read_first = server.get("/read-first").expect(200);
    assert!(
        read_first.body == content[10..],
        "what was buffered by a read is not lost"
    );
}

#[test]
fn a_file_is_sent_within_its_content_length() {
    if differs(
        "wsgi.file_wrapper sends a file from its current position and at most Content-Length bytes; uWSGI sends the whole file.",
    ) {
        return;
    }
    let server = server();
    let content = content();
    assert!(server.get("/range?500").expect(200).body == content[1000..1500]);
    assert!(server.get("/range?0").expect(200).body.is_empty());
}

#[test]
fn a_file_in_memory_is_sent() {
    let server = server();
    assert!(server.get("/memory").expect(200).body == content());
    if differs(
        "wsgi.file_wrapper reads an object until it returns nothing; without a block size uWSGI reads it once.",
    ) {
        return;
    }
    assert!(server.get("/object").expect_text("from an object").orderly);
}

#[test]
fn a_wrapped_pipe_is_sent() {
    if differs("wsgi.file_wrapper reads a pipe to its end; uWSGI sends nothing.") {
        return;
    }
    server().get("/pipe").expect_text("through a pipe");
}

#[test]
fn a_text_file_is_an_error() {
    if differs(
        "A text file in wsgi.file_wrapper raises an error, because a response body consists of bytes; uWSGI sends the bytes of its descriptor.",
    ) {
        return;
    }
    let mut server = server();
    let answer = server.exchange(&get("/text").bytes());
    assert!(answer.status == 500 || answer.body.is_empty(), "{answer:?}");
    server.expect_log("Traceback");
}

#[test]
fn a_wrapped_object_without_read_is_an_error() {
    let mut server = server();
    let (answer, _) = server.connect().put(&get("/no-read").bytes()).rest();
    assert!(!String::from_utf8_lossy(&answer).contains(" 200 "));
    server.expect_log("Traceback");
}

#[test]
fn a_wrapper_may_be_iterated_by_middleware() {
    let server = server();
    assert!(server.get("/iterated").expect(200).body == content());
}

#[test]
fn a_wrapped_file_is_closed_once() {
    let server = server();
    let site = server.site.clone();
    for (uri, note) in [("/closed?file", "file\n"), ("/closed?memory", "memory\n")] {
        server.get(uri).expect(200);
        server.eventually("it is closed", || site.read("closed").contains(note));
    }
    server.send(&Request::new("HEAD", "/closed?head"));
    server.eventually("it is closed", || site.read("closed").contains("head\n"));
    server.get("/block-size").expect(200);
    assert_eq!(site.read("closed"), "file\nmemory\nhead\n");
}

#[test]
fn a_head_request_for_a_file_gets_no_body() {
    if differs("The response to a HEAD request for a file has no body; uWSGI sends the file.") {
        return;
    }
    let answer = server()
        .send(&Request::new("HEAD", "/with-length"))
        .expect(200);
    assert_eq!(
        answer.header("Content-Length"),
        Some(SIZE.to_string().as_str())
    );
    assert!(answer.body.is_empty());
}

#[test]
fn files_are_closed() {
    let mut server = server();
    let count =
        |server: &Server| -> usize { server.workers().into_iter().map(proc::descriptors).sum() };
    server.get("/whole").expect(200);
    let before = count(&server);
    for _ in 0..20 {
        server.get("/whole").expect(200);
        drop(server.ask(&get("/whole")));
    }
    if under_uwsgi() {
        server.expect_log("");
    }
    server.eventually("as many descriptors are open as before", || {
        server.get("/object");
        count(&server) <= before
    });
}
