//! The entry points of the fuzz targets with generated input: arbitrary bytes, and mutations of valid messages, each
//! split at every position. `PROPTEST_CASES=100000 cargo test --test fuzz` for a long run; `fuzz/README.md` for libFuzzer.
#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use ruwsgi::fuzz;

/// Calls the entry point with the input split at every position, and with this limit.
fn split_everywhere(target: fn(&[u8]), limit: u8, input: &[u8]) {
    for first in 0..=input.len() {
        let first = u16::try_from(first).unwrap();
        let mut data = first.to_le_bytes().to_vec();
        data.push(limit);
        assert_eq!(data.len(), fuzz::PREFIX);
        data.extend_from_slice(input);
        target(&data);
    }
}

/// A change of a message.
#[derive(Debug, Clone)]
enum Mutation {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    Truncate(Index),
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let at = |index: &Index, bytes: &Vec<u8>| index.index(bytes.len() + 1);
        match self {
            Mutation::Set(index, byte) if !bytes.is_empty() => {
                let at = index.index(bytes.len());
                bytes[at] = *byte;
            }
            Mutation::Set(..) => {}
            Mutation::Insert(index, new) => {
                let at = at(index, bytes);
                bytes.splice(at..at, new.iter().copied());
            }
            Mutation::Remove(index, count) => {
                let at = at(index, bytes);
                let end = (at + count).min(bytes.len());
                bytes.drain(at..end);
            }
            Mutation::Repeat(index, count) => {
                let at = at(index, bytes);
                let end = (at + count).min(bytes.len());
                let range = bytes[at..end].to_vec();
                bytes.splice(at..at, range);
            }
            Mutation::Truncate(index) => {
                let at = at(index, bytes);
                bytes.truncate(at);
            }
        }
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (
            any::<Index>(),
            select(b"\r\n\t :;,=\0\x7f%#/*[]\"".to_vec())
        )
            .prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (any::<Index>(), vec(any::<u8>(), 1..4)).prop_map(|(at, new)| Mutation::Insert(at, new)),
        (any::<Index>(), 1..20_usize).prop_map(|(at, count)| Mutation::Remove(at, count)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, count)| Mutation::Repeat(at, count)),
        any::<Index>().prop_map(Mutation::Truncate),
    ]
}

/// One of `messages` with up to three mutations.
fn mutated(messages: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (select(messages), vec(mutation(), 0..4)).prop_map(|(mut message, mutations)| {
        for mutation in mutations {
            mutation.apply(&mut message);
        }
        message
    })
}

fn packet(modifier1: u8, variables: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for text in variables.iter().flat_map(|(key, value)| [key, value]) {
        block.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
        block.extend(text.bytes());
    }
    let [low, high] = u16::try_from(block.len()).unwrap().to_le_bytes();
    [&[modifier1, low, high, 0], &block[..]].concat()
}

fn packets() -> Vec<Vec<u8>> {
    let variables = [
        ("REQUEST_METHOD", "POST"),
        ("PATH_INFO", "/caf\u{e9}"),
        ("QUERY_STRING", ""),
        ("CONTENT_LENGTH", "5"),
        ("HTTP_HOST", "example.org"),
    ];
    vec![
        packet(0, &variables),
        packet(0, &[]),
        packet(100, &[]),
        packet(30, &variables[..1]),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ]
}

fn heads() -> Vec<Vec<u8>> {
    let heads = [
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a%20b/../c?d=e HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "POST http://example.org:80/x HTTP/1.1\r\nHost: example.org:80\r\nContent-Length: 5\r\n\
         Expect: 100-continue\r\nX_Y: z\r\nProxy: p\r\n\r\nhello",
        "PUT /%2e%2e/./a HTTP/1.1\r\nHost: [::1]:8000\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
        "\r\nOPTIONS * HTTP/1.1\r\nHost:\r\nConnection: close, x\r\n\r\n",
    ];
    heads.map(|head| head.as_bytes().to_vec()).to_vec()
}

fn ini_files() -> Vec<Vec<u8>> {
    let files = [
        "[uwsgi]\nsocket = 127.0.0.1:3031\n; comment\nenv = A=b=c\r\nmaster\n",
        "\u{feff}[uwsgi]\n\n[other] ; x\n = value\nif-env = HOME\nchdir = %d/caf\u{e9}\nendif\n",
    ];
    files.map(|file| file.as_bytes().to_vec()).to_vec()
}

fn bodies() -> Vec<Vec<u8>> {
    let bodies = [
        "0\r\n\r\n",
        "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET /",
        "1;a;b=c ; d=\"e\\\"f\"\r\nx\r\n000;g\r\nX: y\r\nZ:\r\n\r\n",
        "A\r\n0123456789\r\n7fffffffffffffff\r\nabc",
    ];
    bodies.map(|body| body.as_bytes().to_vec()).to_vec()
}

fn file_requests() -> Vec<Vec<u8>> {
    let requests = [
        "/static/css/../a.css",
        "/../../etc/passwd",
        "bytes=0-4, 6-, -2,99999999999999999999-",
        "W/\"a\", \"b\", \"a\", *",
        "gzip;q=0.5, br, *;q=0.001, identity;q=0",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
    ];
    requests.map(|request| request.as_bytes().to_vec()).to_vec()
}

proptest! {
    #[test]
    fn arbitrary_bytes_break_no_reader(data in vec(any::<u8>(), 0..300)) {
        fuzz::uwsgi_packet(&data);
        fuzz::http_head(&data);
        fuzz::chunked_body(&data);
        fuzz::ini(&data);
        fuzz::static_file(&data);
    }

    #[test]
    fn a_mutated_packet_breaks_no_property(input in mutated(packets())) {
        split_everywhere(fuzz::uwsgi_packet, 0, &input);
    }

    #[test]
    fn a_mutated_head_breaks_no_property(input in mutated(heads()), limit in any::<u8>()) {
        split_everywhere(fuzz::http_head, 0, &input);
        split_everywhere(fuzz::http_head, limit, &input);
    }

    #[test]
    fn a_mutated_chunked_body_breaks_no_property(input in mutated(bodies())) {
        split_everywhere(fuzz::chunked_body, 0, &input);
    }

    #[test]
    fn a_mutated_request_for_a_file_breaks_no_property(
        input in mutated(file_requests()), size in any::<u8>()
    ) {
        split_everywhere(fuzz::static_file, size, &input);
    }

    #[test]
    fn a_mutated_ini_file_breaks_no_property(input in mutated(ini_files())) {
        split_everywhere(fuzz::ini, 0, &input);
    }
}
