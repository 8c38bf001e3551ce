#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
//! Tests of the parser with its input split at every place.

mod invalid;
mod valid;

use super::*;
use proptest::prelude::*;

const LIMITS: Limits = Limits {
    head: 65_535,
    headers: 100,
};

/// A request that owns its values, for comparisons.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owned {
    head_len: usize,
    method: String,
    target: String,
    path: Vec<u8>,
    query: String,
    version: Version,
    headers: Vec<(String, String)>,
    host: Option<String>,
    framing: Framing,
    keep_alive: bool,
    expect_continue: bool,
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn owned(request: &Request<'_>) -> Owned {
    Owned {
        head_len: request.head_len,
        method: text(request.method),
        target: text(request.target),
        path: request.path.to_vec(),
        query: text(request.query),
        version: request.version,
        headers: request
            .headers
            .iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect(),
        host: request.host.map(text),
        framing: request.framing,
        keep_alive: request.keep_alive,
        expect_continue: request.expect_continue,
    }
}

/// The result of parsing a head; `None` if the head is not complete.
type Outcome = Result<Option<Owned>, Refusal>;

fn once(buf: &[u8], limits: &Limits, scan: &mut Scan) -> Outcome {
    Ok(match parse(buf, limits, scan)? {
        Parsed::Partial => None,
        Parsed::Complete(request) => Some(owned(&request)),
    })
}

fn whole(bytes: &[u8]) -> Outcome {
    once(bytes, &LIMITS, &mut Scan::default())
}

/// Passes the bytes up to each offset of `cuts` to the parser, one after the other, and then all bytes. Returns the
/// first result that is not partial.
fn cut(bytes: &[u8], cuts: impl IntoIterator<Item = usize>, limits: &Limits) -> Outcome {
    let mut scan = Scan::default();
    for end in cuts.into_iter().chain([bytes.len()]) {
        match once(&bytes[..end], limits, &mut scan)? {
            None => {}
            complete => return Ok(complete),
        }
    }
    Ok(None)
}

/// Checks that each split of the input in two parts, and its arrival byte by byte, give the same result as the whole
/// input. Returns the result.
fn every_split(bytes: &[u8], limits: &Limits) -> Outcome {
    let expected = once(bytes, limits, &mut Scan::default());
    for at in 0..bytes.len() {
        assert_eq!(
            cut(bytes, [at], limits),
            expected,
            "cut at {at}: {:?}",
            text(bytes)
        );
    }
    assert_eq!(
        cut(bytes, 0..bytes.len(), limits),
        expected,
        "{:?}",
        text(bytes)
    );
    expected
}

fn request(bytes: &[u8]) -> Owned {
    match every_split(bytes, &LIMITS) {
        Ok(Some(owned)) => owned,
        other => panic!("{:?}: {other:?}", text(bytes)),
    }
}

/// Parts of requests, valid and invalid ones.
fn piece() -> impl Strategy<Value = &'static [u8]> {
    prop::sample::select(
        [
            "GET ",
            "POST ",
            "OPTIONS ",
            "/",
            "/a/../b",
            "%41",
            "%zz",
            "*",
            "http://h/",
            " HTTP/1.1",
            " HTTP/1.0",
            "\r\n",
            "\r\n\r\n",
            "\n",
            "\r",
            " ",
            "\t",
            ":",
            "Host: h\r\n",
            "Host:",
            "Content-Length: 5\r\n",
            "Content-Length:",
            "7",
            "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding:",
            "Connection: close\r\n",
            "Expect: 100-continue\r\n",
            "X_Y: z\r\n",
            "X: y\r\n",
            "\0",
            "\u{e9}",
            "GET / HTTP/1.1\r\nHost: h\r\n",
        ]
        .map(str::as_bytes)
        .to_vec(),
    )
}

proptest! {
    #[test]
    fn any_bytes_give_the_same_result_however_they_are_split(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cuts in prop::collection::vec(0.0..1.0_f64, 0..6),
    ) {
        let mut ends: Vec<usize> = cuts.iter().map(|part| (part * bytes.len() as f64) as usize).collect();
        ends.sort_unstable();
        prop_assert_eq!(cut(&bytes, ends, &LIMITS), whole(&bytes));
    }

    #[test]
    fn anything_like_a_request_gives_the_same_result_however_it_is_split(
        pieces in prop::collection::vec(piece(), 0..14),
        head in 1..200_usize,
        headers in 0..4_usize,
    ) {
        let bytes = pieces.concat();
        every_split(&bytes, &LIMITS).ok();
        every_split(&bytes, &Limits { head, headers }).ok();
    }

    #[test]
    fn a_request_with_a_wrong_byte_never_panics_and_ends_where_it_did(
        at in 0..120_usize, byte in any::<u8>(),
    ) {
        let mut bytes = b"POST /a%20b/../c?d HTTP/1.1\r\nHost: example.org:80\r\nContent-Length: 5\r\nConnection: close\r\n\
            Expect: 100-continue\r\nX-Foo: bar\r\n\r\n".to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(Some(head)) = every_split(&bytes, &LIMITS) {
            prop_assert_eq!(head.head_len, bytes.len());
            prop_assert!(head.headers.iter().all(|(_, value)| !value.contains(['\r', '\n', '\0'])));
        }
    }

    #[test]
    fn a_path_encoded_in_any_way_is_decoded_once(
        bytes in prop::collection::vec(1..=255_u8, 0..40), plain in prop::collection::vec(any::<bool>(), 40),
    ) {
        let mut target = b"/".to_vec();
        for (&byte, &plain) in bytes.iter().zip(&plain) {
            if plain && byte.is_ascii_alphanumeric() {
                target.push(byte);
            } else {
                target.extend(format!("%{byte:02x}").bytes());
            }
        }
        let line = [b"GET ", &target[..], b" HTTP/1.0\r\n\r\n"].concat();
        let head = whole(&line).unwrap().unwrap();
        prop_assert_eq!(&head.path[1..], &bytes[..]);
    }
}

#[test]
fn each_byte_of_a_head_is_scanned_once() {
    let mut bytes = b"GET / HTTP/1.0\r\nX: ".to_vec();
    let mut scan = Scan::default();
    for _ in 0..5000 {
        assert_eq!(once(&bytes, &LIMITS, &mut scan), Ok(None));
        // the scanned bytes are replaced by NUL, which would be refused if the parser scanned them again
        bytes.fill(0);
        bytes.push(b'y');
    }
}

#[test]
fn a_refused_connection_stays_refused() {
    let mut scan = Scan::default();
    let bad = b"GET / HTTP/1.1\r\nHost: h\r\nBad Name: x\r\nX: y\r\n\r\n";
    let refusal = parse(bad, &LIMITS, &mut scan).unwrap_err();
    let good = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    for _ in 0..2 {
        assert_eq!(parse(bad, &LIMITS, &mut scan).unwrap_err(), refusal);
        assert_eq!(parse(good, &LIMITS, &mut scan).unwrap_err(), refusal);
    }
    let mut scan = Scan::default();
    assert!(parse(b"GET / HTTP/1.1\r\n\r\n", &LIMITS, &mut scan).is_err());
    assert!(parse(good, &LIMITS, &mut scan).is_err());
}

#[test]
fn requests_that_follow_each_other_are_read_one_by_one() {
    let bytes = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\n\r\n";
    let mut scan = Scan::default();
    let first = once(bytes, &LIMITS, &mut scan).unwrap().unwrap();
    assert_eq!(
        (&first.path[..], first.framing),
        (&b"/1"[..], Framing::None)
    );
    let second = once(&bytes[first.head_len..], &LIMITS, &mut scan)
        .unwrap()
        .unwrap();
    assert_eq!(
        (&second.path[..], second.framing),
        (&b"/2"[..], Framing::Length(0))
    );
    assert_eq!(first.head_len + second.head_len, bytes.len());
}

#[test]
fn a_buffer_that_shrank_is_scanned_from_its_start() {
    let mut scan = Scan::default();
    assert!(matches!(
        parse(b"GET / HTTP/1.1\r\nHost: a", &LIMITS, &mut scan),
        Ok(Parsed::Partial)
    ));
    assert!(matches!(
        parse(b"GET / HTTP/1", &LIMITS, &mut scan),
        Ok(Parsed::Partial)
    ));
    let head = once(b"GET / HTTP/1.0\r\n\r\n", &LIMITS, &mut scan)
        .unwrap()
        .unwrap();
    assert_eq!(head.version, Version::Http10);
}

#[test]
fn a_head_may_be_exactly_as_large_as_the_limit() {
    let bytes = b"GET / HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n";
    let exact = Limits {
        head: bytes.len(),
        headers: 2,
    };
    assert!(every_split(bytes, &exact).unwrap().is_some());
    for head in 0..bytes.len() {
        let refusal = every_split(bytes, &Limits { head, headers: 2 }).unwrap_err();
        let status = match head {
            0..4 => 400,
            4..16 => 414,
            _ => 431,
        };
        assert_eq!(refusal.status, status, "head = {head}");
    }
    assert_eq!(
        every_split(
            bytes,
            &Limits {
                headers: 1,
                ..exact
            }
        )
        .unwrap_err()
        .status,
        431
    );
}
