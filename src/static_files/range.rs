//! Reads the Range header: the requested parts of a file (RFC 9110, 14).

use std::ops::Range;

/// Maximum number of parts. If a request asks for more parts, the whole file is sent.
pub const MAX_PARTS: usize = 16;

/// The part of a file that a Range header requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    /// The whole file. The header is invalid, has another unit than bytes, or requests too many or too large parts.
    Whole,
    /// These parts. There is at least one part, and no part is empty. Together they are not larger than the file.
    Parts(Vec<Range<u64>>),
    /// No bytes, because the file has none of the requested parts.
    Nothing,
}

/// Reads a Range header for a file of `size` bytes.
///
/// For an empty file, the header is ignored, because some clients add a Range header to all requests to limit the size
/// of the response.
pub fn requested(header: &[u8], size: u64) -> Requested {
    let Some(list) = after_unit(header) else {
        return Requested::Whole;
    };
    if size == 0 {
        return Requested::Whole;
    }
    let (mut parts, mut count, mut total) = (Vec::new(), 0, 0_u64);
    for item in list.split(|&byte| byte == b',') {
        let item = item.trim_ascii();
        if item.is_empty() {
            continue;
        }
        count += 1;
        let Some(spec) = Spec::parse(item).filter(|_| count <= MAX_PARTS) else {
            return Requested::Whole;
        };
        if let Some(part) = spec.of(size) {
            total = total.saturating_add(part.end - part.start);
            parts.push(part);
        }
    }
    if count == 0 || (total > size && parts.len() > 1) {
        return Requested::Whole;
    }
    if parts.is_empty() {
        return Requested::Nothing;
    }
    Requested::Parts(parts)
}

/// Returns the list of ranges that follows `bytes=`; `None` if the header has another form.
fn after_unit(header: &[u8]) -> Option<&[u8]> {
    let (unit, rest) = header.trim_ascii().split_at_checked(6)?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(rest)
}

/// One range of the list.
enum Spec {
    /// The bytes from this position on. The second number is the last byte; `None` means the end of the file.
    From(u64, Option<u64>),
    /// The last bytes of the file; the number is their count.
    Suffix(u64),
}

impl Spec {
    fn parse(text: &[u8]) -> Option<Self> {
        let dash = text.iter().position(|&byte| byte == b'-')?;
        let (first, last) = (text[..dash].trim_ascii(), text[dash + 1..].trim_ascii());
        if first.is_empty() {
            return Some(Self::Suffix(number(last)?));
        }
        let first = number(first)?;
        if last.is_empty() {
            return Some(Self::From(first, None));
        }
        let last = number(last)?;
        (first <= last).then_some(Self::From(first, Some(last)))
    }

    /// The range of bytes in a file of `size` bytes; `None` if the file has none of these bytes.
    fn of(&self, size: u64) -> Option<Range<u64>> {
        let part = match *self {
            Self::Suffix(len) => size.saturating_sub(len)..size,
            Self::From(first, last) => {
                first..last.map_or(size, |last| last.saturating_add(1).min(size))
            }
        };
        (part.start < part.end).then_some(part)
    }
}

/// Parses a decimal number. A number that is too large becomes the maximum.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    };
    Some(digits.iter().fold(0, add))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(parts: &[(u64, u64)]) -> Requested {
        let ranges = parts.iter().map(|&(start, end)| start..end);
        Requested::Parts(ranges.collect())
    }

    #[test]
    fn ranges_of_ten_bytes() {
        for (header, expected) in [
            ("bytes=0-0", parts(&[(0, 1)])),
            ("bytes=0-", parts(&[(0, 10)])),
            ("bytes=9-", parts(&[(9, 10)])),
            ("bytes=-3", parts(&[(7, 10)])),
            ("bytes=-30", parts(&[(0, 10)])),
            ("bytes=2-99999999999999999999999", parts(&[(2, 10)])),
            ("Bytes=1-2", parts(&[(1, 3)])),
            ("bytes= 1 - 2 , 4-5,", parts(&[(1, 3), (4, 6)])),
            ("bytes=8-,0-1", parts(&[(8, 10), (0, 2)])),
            ("bytes=50-,0-1", parts(&[(0, 2)])),
            ("bytes=10-", Requested::Nothing),
            ("bytes=-0", Requested::Nothing),
            ("bytes=99999999999999999999999-", Requested::Nothing),
            ("bytes=20-30,40-", Requested::Nothing),
            ("bytes=", Requested::Whole),
            ("bytes=,", Requested::Whole),
            ("bytes", Requested::Whole),
            ("", Requested::Whole),
            ("bytes=-", Requested::Whole),
            ("bytes=a-b", Requested::Whole),
            ("bytes=3-2", Requested::Whole),
            ("bytes=+1-2", Requested::Whole),
            ("bytes=1-2-3", Requested::Whole),
            ("bytes=0-1,x", Requested::Whole),
            ("lines=0-1", Requested::Whole),
            ("bytes=0-,0-,0-", Requested::Whole),
        ] {
            assert_eq!(requested(header.as_bytes(), 10), expected, "{header}");
        }
        assert_eq!(requested(b"bytes=0-", 0), Requested::Whole);
        let many = format!("bytes={}", vec!["0-0"; MAX_PARTS + 1].join(","));
        assert_eq!(requested(many.as_bytes(), 1000), Requested::Whole);
    }

    proptest! {
        #[test]
        fn no_header_requests_bytes_that_the_file_does_not_have(
            header in "(bytes=)?[0-9, x-]{0,40}", size in any::<u64>()
        ) {
            if let Requested::Parts(parts) = requested(header.as_bytes(), size) {
                prop_assert!(!parts.is_empty() && parts.len() <= MAX_PARTS);
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
                let total: u128 = parts.iter().map(|part| u128::from(part.end - part.start)).sum();
                prop_assert!(total <= u128::from(size));
            }
        }
    }
}
