//! The modification times of files, and dates in headers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The first second that a date in a header cannot express: 1 January 10000.
const END: i64 = 253_402_300_800;

/// The time of the last modification of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modified {
    /// Seconds since 1970.
    pub seconds: u64,
    /// Nanoseconds after the second.
    pub nanos: u32,
}

impl Modified {
    /// A modification time by which clients can check their copies of the file. `None` for the seconds 0 and 1, because
    /// builders of reproducible images give them to all files. Also `None` for times that a header cannot express.
    pub fn usable((seconds, nanos): (i64, u32)) -> Option<Self> {
        if !(2..END).contains(&seconds) {
            return None;
        }
        Some(Self {
            seconds: seconds.unsigned_abs(),
            nanos,
        })
    }
}

/// The text of a time in a header (RFC 9110, 5.6.7). A time after the last time that the text can express becomes this
/// last time.
pub fn http_date(seconds: u64) -> String {
    let last = END.unsigned_abs() - 1;
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds.min(last)))
}

/// Parses a date of a header, in any of the three formats of RFC 9110. Returns seconds since 1970.
pub fn parse_http_date(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let time = httpdate::parse_http_date(text.trim()).ok()?;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_secs())
}

/// The present time, seconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(
                parse_http_date(text.as_bytes()),
                Some(784_111_777),
                "{text}"
            );
        }
        assert_eq!(parse_http_date(b"yesterday\xff"), None);
    }

    #[test]
    fn times_of_reproducible_images_are_not_usable() {
        for seconds in [i64::MIN, -1, 0, 1, END, i64::MAX] {
            assert_eq!(Modified::usable((seconds, 0)), None, "{seconds}");
        }
        assert!(Modified::usable((2, 5)).is_some());
    }
}
