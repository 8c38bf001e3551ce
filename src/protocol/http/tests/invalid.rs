//! Requests that are refused, with status and reason: a table from RFC 9112 and RFC 9110, with section numbers.

use super::*;

/// A request, the status of the refusal and its reason.
type Row = (&'static str, u16, &'static str);

/// RFC 9112 2.2: lines end in CRLF, and no other control character is left in them.
#[rustfmt::skip]
const LINES: &[Row] = &[
    ("GET / HTTP/1.1\nHost: h\n\n", 400, "LF without CR"),
    ("GET / HTTP/1.1\r\nHost: h\n\r\n", 400, "LF without CR"),
    ("GET / HTTP/1.1\r\nHost: h\r\n\n", 400, "LF without CR"),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: a\nY: b\r\n\r\n", 400, "LF without CR"),
    ("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400, "LF without CR"),
    ("GET / HTTP/1.1\rHost: h\r\r", 400, "CR without LF"),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", 400, "CR without LF"),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: a\r\r\n\r\n", 400, "CR without LF"),
    ("GET / HTTP/1.1\r\nHost: h\r\n\rX", 400, "CR without LF"),
    ("\r\rGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400, "CR without LF"),
    ("GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n", 400, "control character in the request head"),
    ("GET /\x1b[31m HTTP/1.1\r\nHost: h\r\n\r\n", 400, "control character in the request head"),
    ("GET /\x7f HTTP/1.1\r\nHost: h\r\n\r\n", 400, "control character in the request head"),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", 400, "control character in the request head"),
    ("GET / HTTP/1.1\r\nHost: h\r\nX\0: a\r\n\r\n", 400, "control character in the request head"),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: \x0b\r\n\r\n", 400, "control character in the request head"),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: \x7f\r\n\r\n", 400, "control character in the request head"),
    ("\x16\x03\x01\x02\0\x01\0", 400, "TLS spoken to a plain HTTP socket"),
    ("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400, "empty lines before the request line"),
];

/// RFC 9112 3: method, one space, target, one space, version.
#[rustfmt::skip]
const REQUEST_LINES: &[Row] = &[
    ("asdf\r\n\r\n", 400, "bad request line"),
    ("GET /\r\n\r\n", 400, "bad request line"),
    ("GET / \r\n\r\n", 400, "bad HTTP version"),
    ("GET HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad request line"),
    ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad request line"),
    ("GET /  HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad request line"),
    ("GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400, "bad request line"),
    ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad request line"),
    ("GET  HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad request line"),
    ("GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad request line"),
    ("GET /\tHTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad request line"),
    (" GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad method"),
    ("\r\n GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad method"),
    ("G(T / HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad method"),
    ("GET: / HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad method"),
    ("G\u{e9}T / HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad method"),
    ("GET,POST / HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad method"),
    ("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\nHost: h\r\n\r\n", 501, "unknown method"),
];

/// RFC 9112 2.3 and RFC 9110 2.5: the HTTP version.
#[rustfmt::skip]
const VERSIONS: &[Row] = &[
    ("GET / http/1.1\r\nHost: h\r\n\r\n", 400, "bad HTTP version"),
    ("GET / HTTP/1\r\nHost: h\r\n\r\n", 400, "bad HTTP version"),
    ("GET / HTTP/1.10\r\nHost: h\r\n\r\n", 400, "bad HTTP version"),
    ("GET / HTTP/01.1\r\nHost: h\r\n\r\n", 400, "bad HTTP version"),
    ("GET / HTTP/1.x\r\nHost: h\r\n\r\n", 400, "bad HTTP version"),
    ("GET / HTTP 1.1\r\nHost: h\r\n\r\n", 400, "bad request line"),
    ("GET / ICY/1.1\r\nHost: h\r\n\r\n", 400, "bad HTTP version"),
    ("GET / HTTP/0.9\r\nHost: h\r\n\r\n", 505, "HTTP version not supported"),
    ("GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505, "HTTP version not supported"),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP version not supported"),
    ("GET / HTTP/3.0\r\nHost: h\r\n\r\n", 505, "HTTP version not supported"),
];

/// RFC 9112 3.2, RFC 3986 2.1 and 3.5: the request target.
#[rustfmt::skip]
const TARGETS: &[Row] = &[
    ("GET a HTTP/1.1\r\nHost: h\r\n\r\n", 400, "request target is neither a path nor an http URL"),
    ("GET ?a HTTP/1.1\r\nHost: h\r\n\r\n", 400, "request target is neither a path nor an http URL"),
    ("GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400, "request target is neither a path nor an http URL"),
    ("OPTIONS ** HTTP/1.1\r\nHost: h\r\n\r\n", 400, "request target is neither a path nor an http URL"),
    ("GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 400, "request target is neither a path nor an http URL"),
    ("GET http:/a HTTP/1.1\r\nHost: h\r\n\r\n", 400, "request target is neither a path nor an http URL"),
    ("GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, "request target is neither a path nor an http URL"),
    ("GET file:///etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n", 400, "request target is neither a path nor an http URL"),
    ("GET \\a HTTP/1.1\r\nHost: h\r\n\r\n", 400, "request target is neither a path nor an http URL"),
    ("GET %2Fa HTTP/1.1\r\nHost: h\r\n\r\n", 400, "request target is neither a path nor an http URL"),
    ("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", 501, "CONNECT is for proxies"),
    ("CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n", 501, "CONNECT is for proxies"),
    ("GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400, "fragment in the request target"),
    ("GET /a?b#c HTTP/1.1\r\nHost: h\r\n\r\n", 400, "fragment in the request target"),
    ("GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad percent-encoding in the path"),
    ("GET /%zz/../a HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad percent-encoding in the path"),
    ("GET /a% HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad percent-encoding in the path"),
    ("GET /a%4 HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad percent-encoding in the path"),
    ("GET /%4%41 HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad percent-encoding in the path"),
    ("GET /%+1 HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad percent-encoding in the path"),
    ("GET /%?a HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad percent-encoding in the path"),
    ("GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n", 400, "%00 in the path"),
    ("GET /a%00/../b HTTP/1.1\r\nHost: h\r\n\r\n", 400, "%00 in the path"),
    ("GET http:// HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad host in the request target"),
    ("GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad host in the request target"),
    ("GET http://:80/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad host in the request target"),
    ("GET http://me@h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad host in the request target"),
    ("GET http://h\\@evil/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad host in the request target"),
];

/// RFC 9112 3.2, RFC 9110 7.2: the Host header.
#[rustfmt::skip]
const HOSTS: &[Row] = &[
    ("GET / HTTP/1.1\r\n\r\n", 400, "no Host header"),
    ("GET http://h/ HTTP/1.1\r\n\r\n", 400, "no Host header"),
    ("GET / HTTP/1.1\r\nX_Host: h\r\n\r\n", 400, "no Host header"),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "more than one Host header"),
    ("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400, "more than one Host header"),
    ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400, "more than one Host header"),
    ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, "bad Host header"),
    ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400, "bad Host header"),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "bad Host header"),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "bad Host header"),
    ("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", 400, "bad Host header"),
    ("GET / HTTP/1.1\r\nHost: me@a\r\n\r\n", 400, "bad Host header"),
    ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400, "bad Host header"),
    ("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400, "bad Host header"),
    ("GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n", 400, "bad Host header"),
    ("GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400, "bad Host header"),
    ("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", 400, "bad Host header"),
    ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "bad Host header"),
    ("GET / HTTP/1.1\r\nHost: [::1]80\r\n\r\n", 400, "bad Host header"),
    ("GET / HTTP/1.1\r\nHost: [h]\r\n\r\n", 400, "bad Host header"),
    ("GET / HTTP/1.1\r\nHost: a%2\r\n\r\n", 400, "bad Host header"),
    ("GET / HTTP/1.1\r\nHost: caf\u{e9}\r\n\r\n", 400, "bad Host header"),
    ("GET / HTTP/1.1\r\nHost: <script>\r\n\r\n", 400, "bad Host header"),
    ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", 400, "Host header and request target disagree"),
    ("GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "Host header and request target disagree"),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "bad Host header"),
    ("GET / HTTP/1.0\r\nHost: \r\n\r\n", 400, "bad Host header"),
    ("GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n", 400, "bad Host header"),
];

/// RFC 9112 5: name, colon, value, each on one line.
#[rustfmt::skip]
const FIELD_LINES: &[Row] = &[
    ("GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400, "folded header line"),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400, "folded header line"),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n\tb\r\n\r\n", 400, "folded header line"),
    ("GET / HTTP/1.1\r\nHost: h\r\n \r\n\r\n", 400, "folded header line"),
    ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400, "white space before the colon of a header"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length\t: 5\r\n\r\n", 400, "white space before the colon of a header"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n", 400, "white space before the colon of a header"),
    ("GET / HTTP/1.1\r\nHost: h\r\nX\r\n\r\n", 400, "header line without a colon"),
    ("GET / HTTP/1.1\r\nHost: h\r\nGET / HTTP/1.1\r\n\r\n", 400, "header line without a colon"),
    ("GET / HTTP/1.1\r\nHost: h\r\n: a\r\n\r\n", 400, "bad header name"),
    ("GET / HTTP/1.1\r\nHost: h\r\nX Y: a\r\n\r\n", 400, "bad header name"),
    ("GET / HTTP/1.1\r\nHost: h\r\nX(Y): a\r\n\r\n", 400, "bad header name"),
    ("GET / HTTP/1.1\r\nHost: h\r\nX\u{e9}: a\r\n\r\n", 400, "bad header name"),
    ("GET / HTTP/1.1\r\nHost: h\r\n\"X\": a\r\n\r\n", 400, "bad header name"),
    ("GET / HTTP/1.1\r\nHost: h\r\nX_Y : a\r\n\r\n", 400, "white space before the colon of a header"),
];

/// RFC 9112 6: where the body ends must be beyond doubt.
#[rustfmt::skip]
const FRAMINGS: &[Row] = &[
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n", 400, "more than one Content-Length"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 400, "more than one Content-Length"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\n", 400, "bad Content-Length"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", 400, "bad Content-Length"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400, "bad Content-Length"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n", 400, "bad Content-Length"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5 5\r\n\r\n", 400, "bad Content-Length"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\n", 400, "bad Content-Length"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1_0\r\n\r\n", 400, "bad Content-Length"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5.0\r\n\r\n", 400, "bad Content-Length"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: five\r\n\r\n", 400, "bad Content-Length"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \u{665}\r\n\r\n", 400, "bad Content-Length"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551621\r\n\r\n", 400, "bad Content-Length"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9223372036854775808\r\n\r\n", 400, "bad Content-Length"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "Content-Length beside Transfer-Encoding"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", 400, "Content-Length beside Transfer-Encoding"),
    ("POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "Transfer-Encoding in HTTP/1.0"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "more than one Transfer-Encoding"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400, "more than one Transfer-Encoding"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 400, "bad Transfer-Encoding"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 400, "bad Transfer-Encoding"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 400, "bad Transfer-Encoding"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n", 400, "bad Transfer-Encoding"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 400, "bad Transfer-Encoding"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n", 400, "bad Transfer-Encoding"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked;q=1\r\n\r\n", 400, "bad Transfer-Encoding"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", 400, "bad Transfer-Encoding"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked,\r\n\r\n", 400, "bad Transfer-Encoding"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: , chunked\r\n\r\n", 400, "bad Transfer-Encoding"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\r\n", 400, "bad Transfer-Encoding"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", 400, "control character in the request head"),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, "Transfer-Encoding other than chunked"),
    ("POST / HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\nContent-Length: 5\r\n\r\n", 417, "expectation other than 100-continue"),
    ("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue, x\r\nContent-Length: 5\r\n\r\n", 417, "expectation other than 100-continue"),
];

#[test]
fn requests_that_break_the_rules_are_refused_however_they_arrive() {
    let tables = [
        LINES,
        REQUEST_LINES,
        VERSIONS,
        TARGETS,
        HOSTS,
        FIELD_LINES,
        FRAMINGS,
    ];
    assert!(tables.iter().map(|table| table.len()).sum::<usize>() >= 64);
    for &(bytes, status, reason) in tables.into_iter().flatten() {
        assert_eq!(
            every_split(bytes.as_bytes(), &LIMITS),
            Err(Refusal { status, reason }),
            "{bytes:?}"
        );
    }
}

#[test]
fn a_target_that_does_not_fit_is_414_and_a_head_that_does_not_fit_is_431() {
    let limits = Limits {
        head: 200,
        headers: 100,
    };
    let long = "x".repeat(300);
    for (bytes, status) in [
        (format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n"), 414),
        (format!("GET /{long}"), 414),
        (format!("\r\nGET /{long}"), 414),
        (
            format!("GET / HTTP/1.1\r\nHost: h\r\nX: {long}\r\n\r\n"),
            431,
        ),
        (format!("GET / HTTP/1.1\r\nHost: h\r\nX: {long}"), 431),
        (
            format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(50)),
            431,
        ),
        (long.clone(), 400),
        (format!("G@T /{long}"), 400),
    ] {
        assert_eq!(
            every_split(bytes.as_bytes(), &limits).map_err(|refusal| refusal.status),
            Err(status),
            "{bytes:?}"
        );
    }
}

#[test]
fn too_many_header_lines_are_431_those_left_out_included() {
    let limits = Limits {
        head: 65_535,
        headers: 3,
    };
    let head = |lines: &str| {
        every_split(
            format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n").as_bytes(),
            &limits,
        )
    };
    assert!(head("A: 1\r\nB: 2\r\n").is_ok());
    let refusal = Refusal {
        status: 431,
        reason: "more header lines than limit-headers",
    };
    assert_eq!(head("A: 1\r\nB: 2\r\nC: 3\r\n"), Err(refusal));
    assert_eq!(head("A_A: 1\r\nProxy: 2\r\nA_C: 3\r\n"), Err(refusal));
}
