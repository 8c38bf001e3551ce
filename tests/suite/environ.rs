//! The WSGI environ: its keys, their types, and what nginx passes.

use serde_json::Value;

use crate::kit::*;

fn environ(launch: Launch) -> Value {
    launch.start().get("/x?a=b").expect(200).json()
}

#[test]
fn the_environ_has_the_keys_of_pep_3333() {
    let answer = environ(Site::with("environ").server());
    for (key, value) in [
        ("REQUEST_METHOD", "GET"),
        ("PATH_INFO", "/x"),
        ("QUERY_STRING", "a=b"),
        ("SERVER_NAME", "example.com"),
        ("SERVER_PORT", "80"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("wsgi.url_scheme", "http"),
    ] {
        assert_eq!(answer[key], value, "{key}");
    }
    assert_eq!(answer["class"], "builtins.dict");
    assert_eq!(answer["reprs"]["wsgi.version"], "(1, 0)");
    assert_eq!(answer["reprs"]["wsgi.run_once"], "False");
    for key in ["wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once"] {
        assert_eq!(answer["types"][key], "bool", "{key}");
    }
    assert_eq!(answer["types"]["wsgi.version"], "tuple");
    for key in ["wsgi.input", "wsgi.errors", "wsgi.file_wrapper"] {
        assert!(answer["types"][key].is_string(), "{key} is missing");
    }
}

#[test]
fn the_environ_has_the_keys_of_uwsgi() {
    let answer = environ(Site::with("environ").server());
    assert_eq!(answer["types"]["uwsgi.version"], "bytes");
    let node = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(answer["reprs"]["uwsgi.node"], format!("b'{}'", node.trim()));
    assert!(answer["types"]["uwsgi.core"].is_null());
    let threaded = environ(Site::with("environ").server().set("threads", 2));
    assert_eq!(threaded["types"]["uwsgi.core"], "int");
}

#[test]
fn script_name_is_always_set() {
    if differs("SCRIPT_NAME is always in the environ; in uWSGI only if the web server sends it.") {
        return;
    }
    assert_eq!(environ(Site::with("environ").server())["SCRIPT_NAME"], "");
}

#[test]
fn wsgi_input_terminated_is_set() {
    if differs(
        "wsgi.input_terminated is True, because wsgi.input ends with the body; uWSGI does not set it.",
    ) {
        return;
    }
    assert_eq!(
        environ(Site::with("environ").server())["reprs"]["wsgi.input_terminated"],
        "True"
    );
}

#[test]
fn multithread_and_multiprocess_match_the_configuration() {
    for (processes, threads) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        let launch = Site::with("environ")
            .server()
            .set("processes", processes)
            .set("threads", threads);
        let answer = environ(launch.set("enable-threads", "true"));
        let flag = |key: &str| answer["reprs"][key] == "True";
        assert_eq!(
            flag("wsgi.multiprocess"),
            processes > 1,
            "{processes} processes"
        );
        assert_eq!(flag("wsgi.multithread"), threads > 1, "{threads} threads");
    }
}

#[test]
fn https_sets_the_scheme() {
    let server = Site::with("environ").server().start();
    let scheme =
        |request: &Request| server.send(request).expect(200).json()["wsgi.url_scheme"].clone();
    assert_eq!(scheme(&get("/")), "http");
    for value in ["on", "1"] {
        assert_eq!(
            scheme(&get("/").var("HTTPS", value)),
            "https",
            "HTTPS={value}"
        );
    }
    assert_eq!(scheme(&get("/").var("HTTPS", "")), "http");
    assert_eq!(scheme(&get("/").var("HTTPS", "off")), "http");
}

#[test]
fn a_header_of_the_client_does_not_set_the_scheme() {
    if differs(
        "X-Forwarded-Proto and X-Forwarded-SSL do not change wsgi.url_scheme; uWSGI trusts them from any client.",
    ) {
        return;
    }
    let server = Site::with("environ").server().start();
    let request = get("/")
        .var("HTTP_X_FORWARDED_PROTO", "gopher")
        .var("HTTP_X_FORWARDED_SSL", "on");
    assert_eq!(server.send(&request).json()["wsgi.url_scheme"], "http");
}

#[test]
fn requests_do_not_share_an_environ() {
    let site = Site::of(
        "kept = []\n\
         def application(environ, start_response):\n    \
             kept.append(environ)\n    \
             stale = 'left.behind' in environ or 'HTTP_X_ONCE' in environ\n    \
             environ['left.behind'] = environ['wsgi.version'] = 1\n    \
             start_response('200 OK', [])\n    \
             paths = ' '.join(e['PATH_INFO'] for e in kept)\n    \
             return [('%s %s' % (stale, paths)).encode()]\n",
    );
    let server = site.server().start();
    server
        .send(&get("/1").var("HTTP_X_ONCE", "1"))
        .expect_text("True /1");
    server.get("/2");
    if differs(
        "Each request gets a new environ dict, which the application can keep; uWSGI clears and reuses it.",
    ) {
        return;
    }
    server.get("/3").expect_text("False /1 /2 /3");
}

#[test]
fn the_environ_through_nginx_is_complete() {
    let site = Site::with("environ");
    let server = site.server().start();
    let nginx = nginx::Nginx::before(&site, server.address());
    let request = "POST /caf%C3%A9/../x%20y/?q=%41&b HTTP/1.1\r\nHost: example.com:81\r\nX-Own: one\r\n\
                   Content-Type: text/x\r\nContent-Length: 4\r\nCookie: a=1\r\nX_Under: score\r\n\r\nbody";
    let answer = nginx.http().put(request).answer().expect(200).json();
    let port = nginx.port().to_string();
    for (key, value) in [
        ("REQUEST_METHOD", "POST"),
        ("PATH_INFO", "/x y/"),
        ("REQUEST_URI", "/caf%C3%A9/../x%20y/?q=%41&b"),
        ("QUERY_STRING", "q=%41&b"),
        ("CONTENT_LENGTH", "4"),
        ("CONTENT_TYPE", "text/x"),
        ("HTTP_HOST", "example.com:81"),
        ("HTTP_X_OWN", "one"),
        ("HTTP_COOKIE", "a=1"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("SERVER_PORT", &port),
        ("SERVER_NAME", "example.com"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REQUEST_SCHEME", "http"),
        ("wsgi.url_scheme", "http"),
        ("body", "body"),
    ] {
        assert_eq!(answer[key], value, "{key}");
    }
    assert!(answer["HTTP_X_UNDER"].is_null() && answer["HTTPS"].is_null());
    let utf8 = nginx.get("/caf%C3%A9").expect(200).json();
    assert_eq!(utf8["PATH_INFO"], "/caf\u{c3}\u{a9}", "bytes as Latin-1");
    assert_eq!(utf8["CONTENT_LENGTH"], "");
}

#[test]
fn wsgirefs_validator_accepts_what_nginx_sends() {
    let site = Site::with("validate");
    let server = site.server().start();
    let nginx = nginx::Nginx::before(&site, server.address());
    let request = "POST /a HTTP/1.1\r\nHost: example.com\r\nContent-Type: text/x\r\nContent-Length: 5\r\n\r\nhello";
    nginx
        .http()
        .put(request)
        .answer()
        .expect_text("valid hello");
    nginx.get("/").expect_text("valid ");
}

#[test]
fn a_header_that_nginx_sends_twice_has_one_variable() {
    if differs(
        "HTTP_CONTENT_TYPE and HTTP_CONTENT_LENGTH, which nginx adds, are not in the environ, as PEP 3333 requires; uWSGI passes them.",
    ) {
        return;
    }
    let site = Site::with("environ");
    let server = site.server().start();
    let nginx = nginx::Nginx::before(&site, server.address());
    let request = "POST / HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nX-A: 2\r\nContent-Type: text/x\r\nContent-Length: 4\r\n\r\nbody";
    let answer = nginx.http().put(request).answer().expect(200).json();
    assert!(answer["HTTP_CONTENT_TYPE"].is_null() && answer["HTTP_CONTENT_LENGTH"].is_null());
    assert_eq!(answer["CONTENT_TYPE"], "text/x");
    assert_eq!(answer["CONTENT_LENGTH"], "4");
    assert_eq!(answer["HTTP_X_A"], "1, 2");
}

#[test]
fn chunked_uploads_through_nginx_arrive() {
    let site = Site::with("environ");
    let server = site.server().start();
    let nginx = nginx::Nginx::before(&site, server.address());
    let request = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n5\r\npedia\r\n0\r\n\r\n";
    assert_eq!(
        nginx.http().put(request).answer().expect(200).json()["body"],
        "wikipedia"
    );
}

#[test]
fn the_proxy_header_is_removed_from_the_environ() {
    if differs("A Proxy header is not passed as HTTP_PROXY (httpoxy); uWSGI passes it.") {
        return;
    }
    let server = Site::with("environ").server().start();
    let answer = server
        .send(&get("/").var("HTTP_PROXY", "http://evil/"))
        .expect(200)
        .json();
    assert!(answer["HTTP_PROXY"].is_null());
}
