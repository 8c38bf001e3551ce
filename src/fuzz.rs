//! Entry points of the fuzz targets in `fuzz/`: one function for each parser of untrusted bytes. Each function panics
//! if the parser violates a property: whole and split input give the same result, the parser consumes nothing beyond
//! the input, and the result is not larger than the input.
//!
//! `tests/fuzz.rs` calls the same functions with generated input.

use crate::config::ini;
use crate::protocol::body::ChunkDecoder;
use crate::protocol::http::{self, Limits, Parsed, Scan};
use crate::protocol::{response, uwsgi};
use crate::static_files::conditional::{self, Conditions, Plan, Validators};
use crate::static_files::entity_tag::{self, Comparison};
use crate::static_files::relative::Relative;
use crate::static_files::time::Modified;
use crate::static_files::{accept_encoding, redirect};

/// Number of bytes before the input itself. They hold the offset at which the input is split (16 bits, little endian),
/// and a limit.
pub const PREFIX: usize = 3;

/// Splits `data` into the length of the first part, a limit, and the input; `None` if `data` is too short.
fn split(data: &[u8]) -> Option<(usize, u8, &[u8])> {
    let (&[low, high, limit], input) = data.split_first_chunk::<PREFIX>()?;
    let first = usize::from(u16::from_le_bytes([low, high]));
    Some((first.min(input.len()), limit, input))
}

/// Parses a uwsgi packet: its head, its variables, and the length of its body.
///
/// # Panics
/// Panics if a property does not hold.
pub fn uwsgi_packet(data: &[u8]) {
    let Some((first, _, input)) = split(data) else {
        return;
    };
    let part = &input[..first];
    let head = uwsgi::Head::parse(input);
    assert_eq!(head.is_some(), input.len() >= uwsgi::HEADER);
    if part.len() >= uwsgi::HEADER {
        assert_eq!(uwsgi::Head::parse(part), head);
        assert_eq!(uwsgi::looks_like(part), uwsgi::looks_like(input));
    }
    let Some(head) = head else {
        return;
    };
    if matches!(head.modifier1, 0 | 30 | 100) {
        assert_eq!(uwsgi::looks_like(input), None, "a packet that is served");
    }
    let rest = &input[uwsgi::HEADER..];
    let block = &rest[..head.size.min(rest.len())];
    let pairs = variables(block);
    // the block is cut off at `first`; its complete variables must be the same
    let part = variables(&block[..first.min(block.len())]);
    assert!(pairs.starts_with(&part), "{part:?} of {pairs:?}");
}

/// The variables of a block, up to its end or its first error.
fn variables(block: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut pairs = Vec::new();
    let mut consumed = 0;
    let mut vars = uwsgi::vars(block);
    let mut complete = true;
    for pair in vars.by_ref() {
        let Ok((key, value)) = pair else {
            complete = false;
            continue;
        };
        assert!(complete, "a variable after an error");
        assert!(!key.is_empty(), "a variable without a name");
        consumed += 4 + key.len() + value.len();
        if let Ok(length) = uwsgi::content_length(value) {
            assert!(i64::try_from(length).is_ok(), "{length}");
        }
        pairs.push((key, value));
    }
    assert!(vars.next().is_none());
    assert!(consumed <= block.len(), "more than the block was read");
    assert_eq!(consumed == block.len(), complete);
    pairs
}

/// Parses the head of an HTTP request, once as a whole and once in two parts.
///
/// # Panics
/// Panics if a property does not hold.
pub fn http_head(data: &[u8]) {
    let Some((first, limit, input)) = split(data) else {
        return;
    };
    let limits = match usize::from(limit) {
        0 => Limits {
            head: 65_535,
            headers: 100,
        },
        limit => Limits {
            head: limit * 4,
            headers: limit % 8,
        },
    };
    let whole = http::parse(input, &limits, &mut Scan::default());
    let mut scan = Scan::default();
    let parts = match http::parse(&input[..first], &limits, &mut scan) {
        Ok(Parsed::Partial) => http::parse(input, &limits, &mut scan),
        decided => decided,
    };
    match (&whole, &parts) {
        (Ok(Parsed::Complete(one)), Ok(Parsed::Complete(other))) => {
            // the first part may contain the whole head and further bytes
            assert_eq!(format!("{one:?}"), format!("{other:?}"));
            check_request(one, input, &limits);
        }
        (Ok(Parsed::Partial), Ok(Parsed::Partial)) => {}
        (Err(one), Err(other)) => {
            assert_eq!(one, other);
            assert!((400..=599).contains(&one.status), "{one:?}");
            assert!(http::parse(input, &limits, &mut scan).is_err());
        }
        _ => panic!("whole: {whole:?}, in two parts: {parts:?}"),
    }
}

fn check_request(request: &http::Request<'_>, input: &[u8], limits: &Limits) {
    let head = &input[..request.head_len];
    assert!(head.len() <= limits.head && head.ends_with(b"\r\n\r\n"));
    assert!(!request.path.contains(&0) && request.path.len() <= request.target.len().max(1));
    assert!(request.headers.iter().count() <= limits.headers);
    for (name, value) in request.headers {
        assert!(response::header_name_is_valid(name) && !name.contains(&b'_'));
        assert!(response::header_value_is_valid(value));
        let mut key = Vec::new();
        http::environ_name(name, &mut key);
        assert!(key.len() <= name.len() + "HTTP_".len());
    }
}

/// Decodes a chunked body, once as a whole and once in two parts.
///
/// # Panics
/// Panics if a property does not hold.
pub fn chunked_body(data: &[u8]) {
    let Some((first, _, input)) = split(data) else {
        return;
    };
    let whole = decode(&[input]);
    let (one, other) = input.split_at(first);
    assert_eq!(decode(&[one, other]), whole);
}

/// Decodes a body that arrives in `parts`. Returns the body, the number of consumed bytes, and whether the body is
/// complete or the reason why it is malformed.
fn decode(parts: &[&[u8]]) -> (Vec<u8>, usize, Result<bool, http::Refusal>) {
    let mut decoder = ChunkDecoder::new();
    let mut body = Vec::new();
    let mut consumed = 0;
    for part in parts {
        let mut sink = |data: &[u8]| {
            assert!(!data.is_empty(), "a piece without data");
            body.extend_from_slice(data);
        };
        let progress = match decoder.decode(part, &mut sink) {
            Ok(progress) => progress,
            // the end of a malformed body is unknown, so no byte counts as consumed
            Err(refusal) => return (body, 0, Err(refusal)),
        };
        assert!(progress.consumed <= part.len());
        assert!(body.len() <= consumed + progress.consumed);
        assert_eq!(progress.done, decoder.is_done());
        assert!(progress.done || progress.consumed == part.len());
        consumed += progress.consumed;
        if progress.done {
            return (body, consumed, Ok(true));
        }
    }
    (body, consumed, Ok(false))
}

/// Splits an ini file into lines, once as a whole and once in two parts. Directives and values are not evaluated,
/// because they can read files and run commands.
///
/// # Panics
/// Panics if a property does not hold.
pub fn ini(data: &[u8]) {
    let Some((first, _, input)) = split(data) else {
        return;
    };
    let lines = lines(input);
    let feed = input[..first].iter().rposition(|&byte| byte == b'\n');
    if let Some(feed) = feed {
        let (head, tail) = (&input[..feed], &input[feed + 1..]);
        // a byte-order mark is recognized only at the start of the file
        if !tail.starts_with("\u{feff}".as_bytes()) {
            let mut parts = self::lines(head);
            parts.extend(self::lines(tail));
            assert_eq!(parts, lines);
        }
    }
    for line in lines {
        let text = String::from_utf8_lossy(line);
        match ini::line(&text) {
            Some(ini::Line::Section(name)) => assert!(name.len() < text.len()),
            Some(ini::Line::Pair(key, value)) => {
                assert!(key.len() + value.len() <= text.len() && !key.contains('='));
                let again = format!("{key}={value}");
                assert_eq!(ini::line(&again), Some(ini::Line::Pair(key, value)));
            }
            None => {}
        }
    }
}

fn lines(input: &[u8]) -> Vec<&[u8]> {
    let (numbers, lines): (Vec<u32>, Vec<&[u8]>) = ini::numbered(input).unzip();
    assert!(numbers.iter().copied().eq(1..=lines.len() as u32));
    assert!(lines.iter().all(|line| !line.contains(&b'\n')));
    lines
}

/// Reads the path and the headers of a request for a static file. The first part of the input is the path. The second
/// part is the value of every header. The limit is the size of the file.
///
/// # Panics
/// Panics if a property does not hold.
pub fn static_file(data: &[u8]) {
    let Some((first, size, input)) = split(data) else {
        return;
    };
    let (path, header) = input.split_at(first);
    if let Some(relative) = Relative::of(path) {
        for segment in relative.as_bytes().split(|&byte| byte == b'/') {
            assert!(segment != b".." && !segment.is_empty() && !segment.contains(&0));
        }
    }
    let location = redirect::location(b"", path, header);
    assert!(location.starts_with(b"/") && !location.starts_with(b"//"));
    assert!(location.iter().all(|byte| matches!(byte, b'!'..=b'~')));
    assert!(accept_encoding::accepted(header).count() <= 3);
    let strong = entity_tag::matches(header, "\"a\"", Comparison::Strong);
    assert!(!strong || entity_tag::matches(header, "\"a\"", Comparison::Weak));
    check_plan(header, u64::from(size));
}

/// Checks that the plan for a request with these headers has no bytes outside of the file.
fn check_plan(header: &[u8], size: u64) {
    let conditions = Conditions {
        if_unmodified_since: Some(header),
        if_modified_since: Some(header),
        range: Some(header),
        ..Conditions::default()
    };
    let validators = Validators {
        tag: Some("\"a\""),
        modified: Modified::usable((1_000_000_000, 0)),
    };
    let parts = match conditional::plan(&conditions, validators, size, true) {
        Plan::Part(part) => vec![part],
        Plan::Parts(parts) => parts,
        _ => return,
    };
    let total: u64 = parts.iter().map(|part| part.end - part.start).sum();
    assert!(parts.iter().all(|part| part.end <= size) && total <= size);
}
