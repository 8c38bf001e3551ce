//! Responses: the bytes of status, headers and body, `start_response`, `write()`.

use crate::kit::*;

fn server() -> Server {
    Site::with("responses").server().start()
}

#[test]
fn status_and_headers_are_sent_unchanged() {
    let answer = server().get("/headers").expect(418);
    assert_eq!(answer.reason, "I'm a teapot");
    let own: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("X-"))
        .collect();
    let own: Vec<_> = own
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let expected = [
        ("X-One", "1"),
        ("X-lOwEr", "mixed"),
        ("X-One", "again"),
        ("X-Empty", ""),
        ("X-Latin", "caf\u{fffd}"),
    ];
    assert_eq!(own, expected);
    assert_eq!(answer.text(), "short and stout");
}

#[test]
fn no_header_is_added() {
    let answer = server().get("/blocks").expect(200);
    assert_eq!(
        answer.headers,
        [("Content-Type".to_owned(), "text/plain".to_owned())]
    );
}

#[test]
fn a_body_in_one_block_gets_a_content_length() {
    if differs(
        "A response of one block gets a Content-Length if the application sets none; uWSGI adds none.",
    ) {
        return;
    }
    let server = server();
    assert_eq!(
        server
            .get("/one")
            .expect_text("one")
            .header("Content-Length"),
        Some("3")
    );
    assert_eq!(
        server.get("/none").expect(200).header("Content-Length"),
        Some("0")
    );
    assert_eq!(
        server
            .get("/own-length")
            .expect_text("seven b")
            .header("Content-Length"),
        Some("7")
    );
}

#[test]
fn a_status_without_a_reason_gets_the_standard_one() {
    let server = server();
    let answer = server.get("/status?404").expect(404);
    assert_eq!(answer.reason, "Not Found");
    assert_eq!(
        server.get("/status?204 No Content").expect(204).reason,
        "No Content"
    );
    assert_eq!(
        server.get("/status?799 Own Words").expect(799).reason,
        "Own Words"
    );
}

#[test]
fn a_head_request_gets_no_body() {
    if differs(
        "The response to a HEAD request has no body, whatever the application returns; uWSGI sends the body.",
    ) {
        return;
    }
    let server = server();
    for path in ["/one", "/blocks", "/write", "/own-length"] {
        let answer = server.send(&Request::new("HEAD", path)).expect(200);
        assert_eq!(answer.body, b"", "{path}");
    }
    let length = server
        .send(&Request::new("HEAD", "/own-length"))
        .header("Content-Length")
        .map(str::to_owned);
    assert_eq!(length.as_deref(), Some("7"));
}

#[test]
fn no_body_follows_204_and_304() {
    let server = server();
    for status in ["204 No Content", "304 Not Modified"] {
        let answer = server.get(&format!("/empty?{status}"));
        assert_eq!(answer.body, b"");
        assert_eq!(answer.header("Content-Length"), None, "{status}");
    }
    if differs(
        "A 204 or 304 response has no body, whatever the application returns; uWSGI sends the body.",
    ) {
        return;
    }
    for status in ["204 No Content", "304 Not Modified"] {
        assert_eq!(
            server.get(&format!("/status?{status}")).body,
            b"",
            "{status}"
        );
    }
}

#[test]
fn the_length_of_a_bodiless_response_is_that_of_rfc_9110() {
    if differs(
        "A 204 response has no Content-Length and a 205 response one of 0 and no body, whatever the application says (RFC 9110); uWSGI sends what it says.",
    ) {
        return;
    }
    let site = Site::with("responses");
    let server = site
        .server()
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .start();
    let mut connection = server.http();
    for (status, length) in [
        ("204 No Content", None),
        ("205 Reset Content", Some("0")),
        ("304 Not Modified", Some("5")),
    ] {
        for path in ["length", "length-blocks", "status"] {
            let answer = connection.get(&format!("/{path}?{}", status.replace(' ', "%20")));
            assert_eq!(answer.body, b"", "{status}");
            let length = if path == "status" && answer.status == 304 {
                None
            } else {
                length
            };
            assert_eq!(answer.header("Content-Length"), length, "{path} {status}");
            assert_eq!(answer.header("Transfer-Encoding"), None, "{path} {status}");
        }
    }
    connection.get("/one").expect_text("one");
}

#[test]
fn a_blank_content_length_is_refused() {
    if differs("A blank Content-Length raises ValueError; uWSGI sends it.") {
        return;
    }
    let mut server = server();
    for path in ["/blank-length", "/spaces-length"] {
        server.get(path).expect(500);
    }
    server.expect_log("Content-Length");
    server.expect_log("Traceback");
    server.get("/padded-length").expect_text("x");
}

#[test]
fn a_body_is_truncated_at_its_content_length() {
    if differs(
        "A response body longer than its Content-Length is truncated; uWSGI sends all of it.",
    ) {
        return;
    }
    let server = server();
    for path in ["/too-long", "/too-long-blocks", "/too-long-write"] {
        assert_eq!(server.get(path).expect(200).text(), "12345", "{path}");
    }
    server.wait_for_log("Content-Length");
}

#[test]
fn a_body_shorter_than_its_content_length_is_logged() {
    if differs("A response body shorter than its Content-Length is logged; uWSGI does not check.") {
        return;
    }
    let server = server();
    assert_eq!(server.get("/too-short").expect(200).text(), "123");
    server.wait_for_log("Content-Length");
}

#[test]
fn line_breaks_in_status_and_headers_are_refused() {
    if differs(
        "CR, LF and NUL in a status line or header give a 500 response; uWSGI sends them (response splitting).",
    ) {
        return;
    }
    let mut server = server();
    for path in [
        "/split-status",
        "/split-value",
        "/split-name",
        "/nul-value",
        "/cr-value",
    ] {
        let answer = server.get(path).expect(500);
        assert!(
            !String::from_utf8_lossy(&answer.raw).contains("X-Evil"),
            "{path}: {answer:?}"
        );
    }
    server.expect_log("Traceback");
    server.get("/one").expect_text("one");
}

#[test]
fn a_status_or_header_of_a_wrong_type_is_refused() {
    if differs(
        "Wrong arguments to start_response give a 500 response; uWSGI sends an empty response.",
    ) {
        return;
    }
    let mut server = server();
    for path in [
        "/bytes-status",
        "/int-status",
        "/tuple-headers",
        "/list-header",
        "/bytes-header",
        "/wide-header",
        "/empty-name",
    ] {
        server.get(path).expect(500);
    }
    server.expect_log("TypeError");
    server.get("/one").expect_text("one");
}

#[test]
fn large_headers_arrive_complete() {
    let server = server();
    let answer = server.get("/large-header?60000").expect(200);
    assert_eq!(answer.header("X-Large").map(str::len), Some(60_000));
    if differs("Response headers may be of any size; uWSGI wraps a value's length at 64 KiB.") {
        return;
    }
    let answer = server.get("/large-header?200000").expect(200);
    assert_eq!(answer.header("X-Large").map(str::len), Some(200_000));
}

#[test]
fn many_headers_arrive_in_order() {
    let answer = server().get("/many-headers").expect(200);
    let numbers: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "X-N")
        .map(|(_, v)| v.as_str())
        .collect();
    let expected: Vec<_> = (0..500).map(|n| n.to_string()).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn write_sends_before_the_iterable() {
    server().get("/write").expect_text("first second third");
}

#[test]
fn write_sends_at_once() {
    let site = Site::with("responses");
    let server = site.server().start();
    let mut connection = server.ask(&get("/write-gate"));
    connection.until("first");
    site.write("gate", "");
    let (rest, _) = connection.rest();
    assert_eq!(rest, b"second");
}

#[test]
fn exc_info_replaces_unsent_headers() {
    if differs(
        "start_response with exc_info replaces headers that have not been sent; in uWSGI it raises SystemError.",
    ) {
        return;
    }
    let answer = server().get("/exc-info-before").expect(500);
    assert_eq!(answer.text(), "an error page");
    assert_eq!(answer.header("X-First"), None);
}

#[test]
fn exc_info_after_the_headers_raises_the_exception() {
    if differs(
        "start_response with exc_info after the headers raises that exception; uWSGI raises OSError.",
    ) {
        return;
    }
    let mut server = server();
    let answer = server.get("/exc-info-after").expect(200);
    assert_eq!(answer.text(), "begun");
    server.expect_log("ZeroDivisionError");
    assert!(!server.log().contains("not reached"));
}

#[test]
fn start_response_twice_without_exc_info_is_an_error() {
    if differs(
        "A second start_response without exc_info raises an error, as PEP 3333 demands; uWSGI accepts it.",
    ) {
        return;
    }
    let mut server = server();
    server.get("/twice").expect(500);
    server.expect_log("Traceback");
}

#[test]
fn an_application_that_never_calls_start_response_gets_500() {
    if differs(
        "A response without a call of start_response is a 500; uWSGI sends the body without a status line.",
    ) {
        return;
    }
    let mut server = server();
    server.get("/never").expect(500);
    server.expect_log("start_response");
}

#[test]
fn the_headers_list_may_be_changed_until_they_are_sent() {
    // the application owns the list: the server must not fail, and must send the list's first or last state as a
    // whole
    let answer = server().get("/changed").expect(200);
    assert!(answer.header("X-Kept").is_some());
}

#[test]
fn the_error_for_a_header_that_is_not_latin_1_names_it() {
    if differs(
        "The exception for a header that is not Latin-1 names the header; in uWSGI it does not.",
    ) {
        return;
    }
    let site = Site::of(
        "def application(environ, start_response):\n    \
         start_response('200 OK', [('X-Fine', 'fine'), ('X-Name', 'te\u{442}')])\n    return [b'x']\n",
    );
    let mut server = site.server().start();
    server.get("/").expect(500);
    server.expect_log("'X-Name' must be encodable in latin1");
}

#[test]
fn the_error_for_a_header_that_is_no_string_names_it_and_its_type() {
    if differs(
        "The exception for a header or status of a wrong type names the header and the type.",
    ) {
        return;
    }
    for (headers, text) in [
        (
            "[('X-Name', b'text')]",
            "must be a string: 'X-Name' has a value of type bytes",
        ),
        (
            "[('X-Name', None)]",
            "must be a string: 'X-Name' has a value of type NoneType",
        ),
        (
            "[(b'X-Name', 'text')]",
            "http header key must be a string, not bytes",
        ),
        (
            "[('X-Name', '1', '2')]",
            "a name and a value, not of 3 items",
        ),
        ("[['X-Name', '1']]", "must be defined in a tuple, not list"),
        ("{}", "must be in a python list, not dict"),
    ] {
        let site = Site::of(&format!(
            "def application(environ, start_response):\n    \
             start_response('200 OK', {headers})\n    return [b'x']\n",
        ));
        let mut server = site.server().start();
        server.get("/").expect(500);
        server.expect_log(text);
        server.expect_log("Traceback");
    }
}

#[test]
fn wsgiref_validate_finds_no_error() {
    let server = Site::with("validate").server().start();
    for request in [
        get("/a/b?c=d"),
        post("/post", "some body"),
        Request::new("HEAD", "/"),
    ] {
        // the validator requires that SCRIPT_NAME does not end with a slash and that a length is a number
        let request = request.var("SCRIPT_NAME", "");
        let request = if request.body.is_empty() {
            request.without("CONTENT_LENGTH")
        } else {
            request
        };
        let answer = server.send(&request).expect(200);
        let head = request.vars.iter().any(|(_, value)| value == b"HEAD");
        assert!(
            head || answer.text().starts_with("valid"),
            "{}",
            answer.text()
        );
    }
    assert!(!server.log().contains("AssertionError"), "{}", server.log());
}
