//! Response headers that the configuration adds, removes and copies.

use crate::kit::*;

const APP: &str = r#"
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-A', '1'), ('X-User', 'bob'), ('X-Secret', 's')])
    return [b'ok']
"#;

/// Names and values of the X-... headers.
fn own(answer: &Answer) -> Vec<(&str, &str)> {
    let headers = answer.headers.iter();
    headers
        .filter(|(name, _)| name.starts_with("X-") || name == "Connection")
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

#[test]
fn configured_headers_are_added_and_removed() {
    let server = Site::of(APP)
        .server()
        .set("add-header", "X-Z: z: and more")
        .set("add-header", "X-A: again")
        .set("add-header", "Connection: close")
        .set("del-header", "x-a")
        .set("rem-header", "X-Secret")
        .start();
    let answer = server.get("/").expect_text("ok");
    assert_eq!(
        own(&answer),
        [
            ("X-User", "bob"),
            ("X-Z", "z: and more"),
            ("X-A", "again"),
            ("Connection", "close")
        ]
    );
}

#[test]
fn an_added_connection_close_ends_keep_alive() {
    if differs(
        "add-header = Connection: close also closes each HTTP connection after its response; uWSGI only sends the header.",
    ) {
        return;
    }
    let site = Site::of(APP);
    let server = site
        .server()
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .set("add-header", "Connection: close")
        .start();
    let mut client = server.http();
    let answer = client.get("/").expect_text("ok");
    let connection = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "Connection");
    assert_eq!(connection.count(), 1, "{:?}", answer.headers);
    assert!(client.is_closed(), "the connection stays open");
}

#[test]
fn a_removed_content_length_changes_the_framing() {
    if differs(
        "del-header = Content-Length over HTTP makes the response chunked; uWSGI closes the connection.",
    ) {
        return;
    }
    let site = Site::of(APP);
    let server = site
        .server()
        .set("http-socket", format!("127.0.0.1:{}", free_port()))
        .set("del-header", "Content-Length")
        .start();
    let mut client = server.http();
    for _ in 0..2 {
        let answer = client.get("/").expect_text("ok");
        assert_eq!(answer.header("Content-Length"), None);
        assert_eq!(answer.header("Transfer-Encoding"), Some("chunked"));
    }
}

#[test]
fn a_header_is_copied_to_a_variable_of_the_request_log() {
    if under_uwsgi() {
        // only builds with PCRE have these options
        return;
    }
    let server = Site::of(APP)
        .server()
        .set("collect-header", "x-user MYUSER")
        .set("pull-header", "X-Secret SEC")
        .set("pull-header", "X-A HTTP_HOST")
        .set(
            "log-format",
            "user=%%(var.MYUSER) secret=%%(var.SEC) host=%%(var.HTTP_HOST)|",
        )
        .start();
    let answer = server.send(&get("/").var("HTTP_HOST", "example.com"));
    assert_eq!(own(&answer), [("X-User", "bob")]);
    server.wait_for_log("user=bob secret=s host=1|");
}
