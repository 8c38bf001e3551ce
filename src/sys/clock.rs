//! The clocks: wall-clock time and its text formats, and monotonic time for systemd.

use std::ffi::CString;
use std::fmt;
use std::mem;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// A point in time, broken down in the local time zone. Displays as `2026-11-21 06:18:00.123`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// The year, as 2026.
    pub year: i32,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day of the month, 1 to 31.
    pub day: u8,
    /// The day of the week, 0 (Sunday) to 6.
    pub weekday: u8,
    /// The hour, 0 to 23.
    pub hour: u8,
    /// The minute, 0 to 59.
    pub minute: u8,
    /// The second, 0 to 60 (a leap second).
    pub second: u8,
    /// The millisecond, 0 to 999.
    pub millisecond: u16,
    /// The offset of the time zone, seconds east of UTC.
    pub offset: i32,
}

impl LocalTime {
    /// The present time.
    pub fn now() -> Self {
        Self::at(SystemTime::now())
    }

    /// Converts a time to local time: localtime_r(3). A time before 1970 counts as 1970.
    pub fn at(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let tm = broken_down(since);
        LocalTime {
            year: tm.tm_year + 1900,
            month: tm.tm_mon as u8 + 1,
            day: tm.tm_mday as u8,
            weekday: tm.tm_wday as u8,
            hour: tm.tm_hour as u8,
            minute: tm.tm_min as u8,
            second: tm.tm_sec as u8,
            millisecond: since.subsec_millis() as u16,
            offset: tm.tm_gmtoff as i32,
        }
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let LocalTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
            millisecond,
            ..
        } = self;
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{millisecond:03}"
        )
    }
}

/// Converts a time since 1970 to the local time zone: localtime_r(3).
fn broken_down(since: Duration) -> libc::tm {
    let seconds = since.as_secs() as libc::time_t;
    // SAFETY: a tm of zeros is valid (its zone pointer may be null).
    let mut tm: libc::tm = unsafe { mem::zeroed() };
    // SAFETY: both pointers are to locals; localtime_r keeps neither.
    unsafe { libc::localtime_r(&seconds, &mut tm) };
    tm
}

/// Formats a time in the local time zone by strftime(3). Returns an empty text if the format contains a NUL, or if the
/// text does not fit into 1024 bytes.
pub fn strftime(format: &str, time: SystemTime) -> String {
    let Ok(format) = CString::new(format) else {
        return String::new();
    };
    let tm = broken_down(time.duration_since(UNIX_EPOCH).unwrap_or_default());
    let mut text = [0u8; 1024];
    // SAFETY: the buffer has this size; the format ends with a NUL; tm was filled by localtime_r, whose zone name is
    // static.
    let size =
        unsafe { libc::strftime(text.as_mut_ptr().cast(), text.len(), format.as_ptr(), &tm) };
    String::from_utf8_lossy(&text[..size.min(text.len())]).into_owned()
}

/// Formats a time in UTC by RFC 3339: `2026-11-28T09:06:15.123456Z`.
pub fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date_of(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_micros()
    )
}

/// Converts a number of days since 1 January 1970 to year, month and day of the Gregorian calendar.
fn date_of(days: u64) -> (u64, u64, u64) {
    // counted from 1 March of the year 0, in eras of 400 years (146,097 days)
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (
        era * 400 + year + u64::from(month <= 2),
        month,
        day_of_month,
    )
}

/// Reads `CLOCK_MONOTONIC`, microseconds.
pub fn monotonic_micros() -> u64 {
    // CLOCK_MONOTONIC cannot fail
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    now.as_secs() * 1_000_000 + u64::from(now.subsec_micros())
}

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl LocalTime {
    /// Formats the time as ctime(3), without the newline: `Fri Nov 20 11:32:16 2026`.
    pub fn ctime(&self) -> String {
        format!(
            "{} {} {:2} {:02}:{:02}:{:02} {}",
            DAYS[usize::from(self.weekday) % 7],
            MONTHS[usize::from(self.month.saturating_sub(1)) % 12],
            self.day,
            self.hour,
            self.minute,
            self.second,
            self.year
        )
    }
}

impl LocalTime {
    /// Formats the time as in syslog messages (RFC 3164): `Nov 28 07:56:04`.
    pub fn syslog(&self) -> String {
        format!(
            "{} {:2} {:02}:{:02}:{:02}",
            MONTHS[usize::from(self.month.saturating_sub(1)) % 12],
            self.day,
            self.hour,
            self.minute,
            self.second
        )
    }

    /// Formats the time as in the Common Log Format: `21/Nov/2026:11:56:45 +0000`.
    pub fn common_log(&self) -> String {
        let offset = self.offset.abs() / 60;
        format!(
            "{:02}/{}/{}:{:02}:{:02}:{:02} {}{:02}{:02}",
            self.day,
            MONTHS[usize::from(self.month.saturating_sub(1)) % 12],
            self.year,
            self.hour,
            self.minute,
            self.second,
            if self.offset < 0 { '-' } else { '+' },
            offset / 60,
            offset % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ctime_date_has_the_length_of_ctime_3() {
        assert_eq!(
            LocalTime::at(UNIX_EPOCH).ctime().len(),
            "Thu Jan  1 00:00:00 1970".len()
        );
    }

    #[test]
    fn rfc_3339_times_are_utc() {
        let at = |millis| rfc3339(UNIX_EPOCH + Duration::from_millis(millis));
        assert_eq!(at(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(at(1_709_164_799_007), "2024-02-28T23:59:59.007000Z");
        assert_eq!(at(1_709_164_800_000), "2024-02-29T00:00:00.000000Z");
        assert_eq!(at(1_795_856_775_123), "2026-11-28T09:06:15.123000Z");
        assert_eq!(at(4_107_542_399_000), "2100-02-28T23:59:59.000000Z");
        assert_eq!(at(4_107_542_400_000), "2100-03-01T00:00:00.000000Z");
    }

    #[test]
    fn a_moment_reads_as_date_and_time() {
        // shifted so that the text is the same in every zone
        let noon = UNIX_EPOCH + Duration::from_millis(1_795_219_200_123);
        let local = LocalTime::at(noon);
        let shifted = if local.offset >= 0 {
            noon - Duration::from_secs(local.offset as u64)
        } else {
            noon + Duration::from_secs(-local.offset as u64)
        };
        let local = LocalTime::at(shifted);
        assert_eq!(local.to_string(), "2026-11-21 00:00:00.123");
        assert_eq!(local.weekday, 6);
    }
}
