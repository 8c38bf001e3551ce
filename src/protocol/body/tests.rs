#![allow(clippy::unwrap_used, clippy::panic)]
//! Tests of the decoder with its input split at every place.

use super::*;
use proptest::prelude::*;

/// The body and the number of consumed bytes; `None` if the body is incomplete.
type Outcome = Result<Option<(Vec<u8>, usize)>, Refusal>;

/// Decodes `bytes` in parts that end at the offsets `cuts`; the rest is the last part.
fn cut(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) -> Outcome {
    let mut decoder = ChunkDecoder::new();
    let mut body = Vec::new();
    let mut consumed = 0;
    for end in cuts.into_iter().chain([bytes.len()]) {
        let progress = decoder.decode(&bytes[consumed..end], &mut |data| {
            body.extend_from_slice(data)
        })?;
        consumed += progress.consumed;
        assert_eq!(progress.done, decoder.is_done());
        if progress.done {
            return Ok(Some((body, consumed)));
        }
        assert_eq!(
            consumed, end,
            "all of the input is used until the body is complete"
        );
    }
    Ok(None)
}

/// Checks that each split of the input in two parts, and its arrival byte by byte, give the same outcome as the whole
/// input. Returns the outcome.
fn every_split(bytes: &[u8]) -> Outcome {
    let expected = cut(bytes, []);
    for at in 0..bytes.len() {
        assert_eq!(cut(bytes, [at]), expected, "cut at {at}: {bytes:?}");
    }
    assert_eq!(cut(bytes, 0..bytes.len()), expected, "{bytes:?}");
    expected
}

fn encode(blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for block in blocks.iter().filter(|block| !block.is_empty()) {
        chunk_head(block.len(), &mut out);
        out.extend_from_slice(block);
        out.extend_from_slice(CHUNK_END);
    }
    out.extend_from_slice(LAST_CHUNK);
    out
}

#[test]
fn a_chunked_body_is_read_to_its_end_and_no_further() {
    for (bytes, body, left) in [
        ("0\r\n\r\n", "", 0),
        ("5\r\nhello\r\n0\r\n\r\n", "hello", 0),
        (
            "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET /",
            "hello world",
            5,
        ),
        ("00005\r\nhello\r\n000\r\n\r\n", "hello", 0),
        ("0000000000000001\r\nx\r\n0\r\n\r\n", "x", 0),
        (
            "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
            "01234567890123456789",
            0,
        ),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", 0),
        ("1;a\r\nx\r\n0;b=c\r\n\r\n", "x", 0),
        (
            "1 ;\ta = b ; c=\"d\\\"; \u{e9}\t\" ;e\r\nx\r\n0\r\n\r\n",
            "x",
            0,
        ),
        ("0\r\nX: y\r\nExpires:\tnever \r\nEmpty:\r\n\r\nmore", "", 4),
        ("0\r\nX-Length: 5\r\n\r\nhello", "", 5),
    ] {
        let expected = Ok(Some((body.as_bytes().to_vec(), bytes.len() - left)));
        assert_eq!(every_split(bytes.as_bytes()), expected, "{bytes:?}");
    }
}

#[test]
fn a_body_cut_anywhere_is_not_complete() {
    let bytes = b"5;a=\"b\"\r\nhello\r\n0\r\nX: y\r\n\r\n";
    for end in 0..bytes.len() {
        assert_eq!(every_split(&bytes[..end]), Ok(None), "cut at {end}");
    }
    assert!(every_split(bytes).unwrap().is_some());
}

#[test]
#[rustfmt::skip]
fn a_body_framed_wrongly_is_refused_however_it_arrives() {
    for (reason, wrong) in [
        ("bad chunk size", &[
            "\r\n", "x", "-1\r\n", "+1\r\n", " 1\r\n", "0x1\r\n", "1_0\r\n", "1.\r\n", "1\n", "1\rx", "1\r\r\n", ";a\r\n", "\0", "g\r\n",
            "8000000000000000\r\n", "ffffffffffffffff\r\n", "10000000000000000\r\n", "00000000000000001\r\n", "1\r\nx\r\n\r\n",
        ][..]),
        ("bad chunk extension", &[
            "1 \r\nx\r\n", "1 x\r\n", "1;\r\n", "1;;a\r\n", "1;=b\r\n", "1;a=\r\n", "1;a=b=c\r\n", "1;a b\r\n", "1;a \r\n", "1;a=b \r\n", "1;a=b c\r\n",
            "1;a=\"b\r\n", "1;a=\"b\"c\r\n", "1;a=\"b\0\"\r\n", "1;a=\"\\\n\"\r\n", "1;a\nx", "1;a=b\nx", "1;\u{e9}\r\n", "1;a@b\r\n", "1;a\0\r\n",
        ]),
        ("bad chunk size", &["1;a\rx", "1;a=b\r\r\n"]),
        ("chunk data not followed by CRLF", &["1\r\nxy", "1\r\nx\n", "1\r\nx\rX", "1\r\nx0\r\n\r\n", "5\r\nhello 0\r\n\r\n"]),
        ("bad trailer", &[
            "0\r\n\n", "0\r\n\rX", "0\r\nX\r\n", "0\r\n: y\r\n", "0\r\nX : y\r\n", "0\r\n X: y\r\n", "0\r\nX: y\r\n z\r\n", "0\r\nX: y\n\n", "0\r\nX: y\rz",
            "0\r\nX: \0\r\n", "0\r\nX: \x7f\r\n", "0\r\nX\u{e9}: y\r\n", "0\r\nGET / HTTP/1.1\r\n",
        ]),
        ("forbidden trailer field", &[
            "0\r\nHost: y\r\n", "0\r\nX: y\r\nhOST:y\r\n", "0\r\nContent-Length: 5\r\n", "0\r\ntransfer-encoding: chunked\r\n",
        ]),
    ] {
        for bytes in wrong {
            assert_eq!(every_split(bytes.as_bytes()), Err(Refusal { status: 400, reason }), "{bytes:?}");
        }
    }
}

#[test]
fn trailer_fields_with_names_like_forbidden_ones_are_discarded() {
    for trailer in [
        "Hos: y",
        "Hostt: y",
        "X-Host: y",
        "Transfer-Encodings: y",
        "Transfer-Encoding-And-More: y",
    ] {
        let bytes = format!("0\r\n{trailer}\r\nX: host\r\n\r\n");
        assert!(
            every_split(bytes.as_bytes()).unwrap().is_some(),
            "{trailer}"
        );
    }
}

#[test]
fn extensions_and_trailers_are_bounded() {
    let many = |count: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(count));
    assert!(cut(many(8000).as_bytes(), []).is_ok());
    assert_eq!(cut(many(9000).as_bytes(), []), Err(EXTENSIONS_TOO_LARGE));
    let small = "1;aaaa\r\nx\r\n".repeat(2000);
    assert_eq!(cut(small.as_bytes(), []), Err(EXTENSIONS_TOO_LARGE));
    let trailers = |count: usize| format!("0\r\n{}\r\n", "X: y\r\n".repeat(count));
    assert!(cut(trailers(1300).as_bytes(), []).unwrap().is_some());
    assert_eq!(cut(trailers(1400).as_bytes(), []), Err(TRAILERS_TOO_LARGE));
}

#[test]
fn a_refused_body_stays_refused() {
    let mut decoder = ChunkDecoder::new();
    let mut sink = |_: &[u8]| panic!("no data");
    for input in [&b"x"[..], b"", b"0\r\n\r\n"] {
        assert_eq!(decoder.decode(input, &mut sink), Err(BAD_SIZE));
        assert!(!decoder.is_done());
    }
}

#[test]
fn the_longest_chunk_is_begun_and_data_handed_out_as_it_comes() {
    let mut decoder = ChunkDecoder::default();
    assert_eq!(
        decoder.next(b"7fffffffffffffff\r\nab"),
        Ok((20, Piece::Data(b"ab")))
    );
    assert_eq!(decoder.next(b""), Ok((0, Piece::More)));
    assert_eq!(decoder.next(b"c"), Ok((1, Piece::Data(b"c"))));
    let mut decoder = ChunkDecoder::default();
    assert_eq!(decoder.next(b"0\r\n\r\nrest"), Ok((5, Piece::Done)));
    assert_eq!(decoder.next(b"rest"), Ok((0, Piece::Done)));
}

#[test]
fn a_chunks_head_is_its_length_in_hexadecimal() {
    let head = |len: usize| {
        let mut out = b"...".to_vec();
        chunk_head(len, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(head(0), "...");
    for len in [1, 9, 10, 15, 16, 255, 256, 65_536, usize::MAX] {
        assert_eq!(head(len), format!("...{len:x}\r\n"));
    }
}

proptest! {
    #[test]
    fn any_bytes_give_the_same_outcome_however_they_are_split(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        every_split(&bytes).ok();
    }

    #[test]
    fn anything_like_chunks_gives_the_same_outcome_however_it_is_split(
        pieces in prop::collection::vec(
            prop::sample::select(vec!["0", "1", "f", "\r\n", "\r", "\n", ";", "a", "=", "\"", "\\", " ", "X: y", "1\r\nx\r\n", "0\r\n\r\n"]),
            0..20,
        ),
    ) {
        every_split(pieces.concat().as_bytes()).ok();
    }

    #[test]
    fn what_is_encoded_is_decoded_again(
        blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..6),
        next in prop::collection::vec(any::<u8>(), 0..9),
    ) {
        let encoded = encode(&blocks);
        let bytes = [&encoded[..], &next].concat();
        prop_assert_eq!(every_split(&bytes), Ok(Some((blocks.concat(), encoded.len()))));
    }
}
