//! Number values: counts, sizes, times, octal modes.

use std::time::Duration;

use crate::config::finding::Fault;

use super::setting::Parsed;
use super::text::{before_comment, comment_remark, without_comment};

/// Parses a whole number. As in uWSGI, the number ends at the first character that is not a digit, and a text without
/// digits is 0. In both cases the result has a remark. The remark gives specific advice if a comment or a unit of
/// `units` follows the number.
pub(crate) fn whole(text: &str, units: &[&str]) -> Parsed<u64> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return match text.strip_prefix('-') {
            Some(digits) if digits.starts_with(|first: char| first.is_ascii_digit()) => {
                Err(Fault::new("the number must not be negative"))
            }
            _ => Ok((0, Some(read_as(0, text)))),
        };
    }
    let number = digits
        .parse::<u64>()
        .map_err(|_| Fault::new("the number is too large"))?;
    let rest = rest.trim_start();
    if rest.is_empty() {
        return Ok((number, None));
    }
    if rest.starts_with([';', '#']) {
        return Ok((number, Some(comment_remark())));
    }
    if units.iter().any(|unit| rest.eq_ignore_ascii_case(unit)) {
        return Ok((
            number,
            Some(Fault::new("the unit is not needed").hint(format!("write {number}"))),
        ));
    }
    Ok((number, Some(read_as(number, text))))
}

/// The remark about a text that is not a whole number. `number` is the value that is used instead.
fn read_as(number: u64, text: &str) -> Fault {
    let unquoted = text.trim_matches(['"', '\'']);
    if text.is_empty() {
        return Fault::new("the value is empty, which is read as 0").hint("write a number");
    }
    let fault = Fault::new(format!(
        "the value is not a whole number; {number} is used, as in uWSGI"
    ));
    match text {
        "auto" => fault.hint("write a number; in a file, %k is the number of CPU cores"),
        _ if unquoted != text => fault.hint("remove the quotes"),
        _ => fault,
    }
}

/// Parses a size in bytes. A unit K, M or G multiplies the number. A unit gets a remark, because uWSGI does not know
/// units.
pub(crate) fn bytes(text: &str) -> Parsed<u64> {
    let (value, _) = without_comment(text);
    let Some(bytes) = multiplied(value) else {
        return whole(text, &["b", "bytes"]);
    };
    let digits: String = value.chars().take_while(char::is_ascii_digit).collect();
    let fault = Fault::new(format!(
        "the unit is bytes: {bytes} is used, uWSGI reads {digits}"
    ));
    Ok((bytes, Some(fault.hint(format!("write {bytes}")))))
}

/// Converts a size with a unit to bytes. The unit is K, M or G, and B or iB may follow. Returns `None` without such a
/// unit.
fn multiplied(text: &str) -> Option<u64> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at(end);
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A whole number of at most `i32::MAX`.
pub(crate) fn small(text: &str, units: &[&str]) -> Parsed<u32> {
    let (number, remark) = whole(text, units)?;
    match u32::try_from(number) {
        Ok(number) if number <= i32::MAX as u32 => Ok((number, remark)),
        _ => Err(Fault::new("the number is too large")),
    }
}

/// A count of at least 1; 0 is read as 1.
pub(crate) fn count(text: &str) -> Parsed<u32> {
    match small(text, &[])? {
        (0, None) => Ok((1, Some(Fault::new("0 is read as 1")))),
        (0, Some(remark)) => Ok((1, Some(remark.or_hint("0 is read as 1")))),
        parsed => Ok(parsed),
    }
}

/// Parses a count of workers. `auto` is the number of CPUs that this process may use: the CPUs of its affinity, at most
/// the CPU quota of its cgroup, rounded down.
pub(crate) fn workers(text: &str) -> Parsed<u32> {
    let (value, remark) = without_comment(text);
    if value != "auto" {
        return count(text);
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    Ok((u32::try_from(cpus).unwrap_or(1), remark))
}

/// Parses a nice value, from -20 to 19.
pub(crate) fn priority(text: &str) -> Parsed<i32> {
    let (value, remark) = without_comment(text);
    match value.parse() {
        Ok(number @ -20..=19) => Ok((number, remark)),
        _ => Err(Fault::new("a nice value is a number from -20 to 19")),
    }
}

/// Parses an exit status. A flag without a value is 0. Only the lowest 8 bits of the number are used.
pub(crate) fn exit_status(text: &str) -> Parsed<u8> {
    match text {
        "" | "true" => Ok((0, None)),
        _ => {
            let (number, remark) = whole(text, &[])?;
            Ok(((number & 0xff) as u8, remark))
        }
    }
}

/// A percentage from 0 to 100.
pub(crate) fn percent(text: &str) -> Parsed<u32> {
    match small(text, &["%"])? {
        (101.., _) => Err(Fault::new("the value is more than 100 percent")),
        parsed => Ok(parsed),
    }
}

/// A time in whole seconds.
pub(crate) fn seconds(text: &str) -> Parsed<Duration> {
    let (number, remark) = small(text, &["s", "sec", "secs", "second", "seconds"])
        .map_err(|fault| fault.or_hint("write the time in whole seconds"))?;
    let remark = remark.map(|remark| remark.or_hint("write the time in whole seconds"));
    Ok((Duration::from_secs(number.into()), remark))
}

/// Parses a size in MiB, and returns the size in bytes.
pub(crate) fn megabytes(text: &str) -> Parsed<u64> {
    if let Some(bytes) = multiplied(text)
        .filter(|bytes| *bytes >= 1 << 30 && text.to_ascii_lowercase().contains('g'))
    {
        let megabytes = bytes >> 20;
        let fault = Fault::new(format!(
            "the unit is MiB: {megabytes} is used, uWSGI reads {}",
            bytes >> 30
        ));
        return Ok((bytes, Some(fault.hint(format!("write {megabytes}")))));
    }
    let (number, remark) = whole(text, &["m", "mb", "mib"])?;
    match number.checked_mul(1 << 20) {
        Some(bytes) => Ok((bytes, remark)),
        None => Err(Fault::new("the number is too large").hint("the unit is MiB")),
    }
}

/// Parses the size of the block of request variables, from 1 to 65535 bytes. The uwsgi protocol has 16 bits for the
/// size.
pub(crate) fn block_size(text: &str) -> Parsed<u32> {
    const MAX: u64 = 65535;
    let (number, remark) = bytes(text)?;
    match u32::try_from(number.min(MAX)) {
        Ok(0) => Err(Fault::new("the size must be more than 0")),
        Ok(size) if number > MAX => Ok((
            size,
            Some(Fault::new(
                "the protocol allows at most 65535 bytes; 65535 is used",
            )),
        )),
        Ok(size) => Ok((size, remark)),
        Err(_) => Err(Fault::new("the number is too large")),
    }
}

/// Parses a size in bytes for `post-buffering`. As in uWSGI, a word such as `true` is read as 0.
pub(crate) fn buffer_threshold(text: &str) -> Parsed<u64> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "" => Ok((
            0,
            Some(Fault::new("the value is read as 0, as in uWSGI").hint("write a size in bytes")),
        )),
        "false" | "no" | "off" => Ok((0, None)),
        _ => bytes(text),
    }
}

/// The keep-alive timeout for `http-keepalive` without a value.
const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(5);

/// Parses a keep-alive timeout. `true`, 1 and an empty text are the default; `false` and 0 disable keep-alive.
pub(crate) fn keepalive(text: &str) -> Parsed<Duration> {
    match text.to_ascii_lowercase().as_str() {
        "" | "true" | "yes" | "on" | "1" => Ok((DEFAULT_KEEPALIVE, None)),
        "false" | "no" | "off" => Ok((Duration::ZERO, None)),
        _ => seconds(text),
    }
}

/// Parses an octal number. The hint shows `example`.
fn octal(text: &str, example: &str) -> Result<u32, Fault> {
    let fault = || match before_comment(text) {
        Some(value) => Fault::new("the comment after the value is part of it").hint(format!(
            "write {value} and put the comment on a line of its own"
        )),
        None => Fault::new("the value is not an octal number")
            .hint(format!("write for example {example}")),
    };
    if text.is_empty() || !text.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return Err(fault());
    }
    u32::from_str_radix(text, 8).map_err(|_| fault())
}

/// A umask: octal, at most 777.
pub(crate) fn umask(text: &str) -> Parsed<u32> {
    match octal(text, "022")? {
        mask if mask > 0o777 => Err(Fault::new("the mask is more than 777")),
        mask => Ok((mask, None)),
    }
}

/// Parses the permissions of a Unix socket: three octal digits, with an optional 0 before them. Without a value, the
/// permissions are 666.
pub(crate) fn socket_mode(text: &str) -> Parsed<u32> {
    if matches!(text, "" | "1" | "true") {
        return Ok((0o666, None));
    }
    let mode = octal(text, "660")?;
    match text.len() {
        3 => Ok((mode, None)),
        4 if text.starts_with('0') => Ok((mode, None)),
        _ => Err(Fault::new("permissions are three octal digits").hint("write for example 660")),
    }
}
