//! Texts to values, with what is wrong with them.

use std::time::Duration;

use crate::config::finding::{Fault, shortened};
use crate::config::values::setting::Read;
use crate::config::values::value::{Compat, Owner, ScalingAlgorithm, Wire};

/// The value without an inline comment, and a remark when there was one.
pub(crate) fn without_comment(text: &str) -> (&str, Option<Fault>) {
    match inline_comment(text) {
        Some(bare) => (bare, Some(comment_remark())),
        None => (text, None),
    }
}

/// The part before an inline comment, when the text has one.
pub(crate) fn inline_comment(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let at = (1..bytes.len())
        .find(|&at| matches!(bytes[at], b'#' | b';') && matches!(bytes[at - 1], b' ' | b'\t'))?;
    Some(text[..at].trim_end())
}

/// What is said about a comment behind a value.
pub(crate) fn comment_remark() -> Fault {
    Fault::new("a comment behind a value is part of it in uWSGI's ini")
        .hint("put the comment on a line of its own")
}

pub(crate) fn comma_separated(text: &str) -> Vec<&str> {
    let parts: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect();
    if parts.is_empty() { vec![""] } else { parts }
}

pub(crate) fn full(text: &str) -> Read<String> {
    if text.is_empty() {
        return Err(Fault::new("it has no value").hint("write one, or take the line out"));
    }
    let quoted = text.len() > 1
        && (text.starts_with('"') && text.ends_with('"')
            || text.starts_with('\'') && text.ends_with('\''));
    let remark = if quoted {
        Some(
            Fault::new("the quotes are part of the value")
                .hint("take them away: nothing needs quotes here"),
        )
    } else {
        inline_comment(text).map(|_| comment_remark())
    };
    Ok((text.to_owned(), remark))
}

pub(crate) fn capability(text: &str) -> Read<caps::Capability> {
    let (bare, remark) = without_comment(text);
    let name = bare.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    let same = |known: &caps::Capability| {
        let number = known.index().to_string();
        known.to_string().strip_prefix("CAP_") == Some(name) || number == name
    };
    match caps::all().into_iter().find(same) {
        Some(known) => Ok((known, remark)),
        None => Err(
            Fault::new(format!("there is no capability {}", shortened(bare)))
                .hint("they are named like net_bind_service; capabilities(7) lists them"),
        ),
    }
}

pub(crate) fn switch(text: &str) -> Read<bool> {
    let (bare, remark) = without_comment(text);
    match bare.to_ascii_lowercase().as_str() {
        "" | "true" | "on" | "yes" | "1" => Ok((true, remark)),
        "false" | "off" | "no" | "0" if remark.is_some() => Err(Fault::new(
            "uWSGI takes it for true, because the comment is part of the value",
        )
        .hint("put the comment on a line of its own")),
        "false" | "off" | "no" | "0" => Ok((false, None)),
        _ => Err(
            Fault::new("it is neither true nor false (uWSGI would take it for true)")
                .hint("write true or false"),
        ),
    }
}

/// A whole number, perhaps followed by the unit it has anyway or by a comment.
pub(crate) fn whole(text: &str, units: &[&str]) -> Read<u64> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return Err(not_a_number(text));
    }
    let number = digits
        .parse::<u64>()
        .map_err(|_| Fault::new("the number is too large"))?;
    let bare = rest.trim_start();
    if bare.is_empty() {
        return Ok((number, None));
    }
    if bare.starts_with([';', '#']) {
        return Ok((number, Some(comment_remark())));
    }
    if units.iter().any(|unit| bare.eq_ignore_ascii_case(unit)) {
        return Ok((
            number,
            Some(Fault::new("the unit is understood anyway").hint(format!("write {number}"))),
        ));
    }
    Err(not_a_number(text))
}

pub(crate) fn not_a_number(text: &str) -> Fault {
    let trimmed = text.trim_matches(['"', '\'']);
    match text {
        "" => Fault::new("it has no value").hint("write a number"),
        "auto" => Fault::new("it is not a whole number")
            .hint("write a number, or %k in a file for one per CPU core"),
        _ if text.starts_with('-') => Fault::new("it must not be negative"),
        _ if trimmed != text => Fault::new("it is not a whole number").hint("take the quotes away"),
        _ => Fault::new(
            "it is not a whole number (uWSGI would stop reading at the first other character)",
        ),
    }
}

pub(crate) fn small(text: &str, units: &[&str]) -> Read<u32> {
    let (number, remark) = whole(text, units)?;
    match u32::try_from(number) {
        Ok(number) if number <= i32::MAX as u32 => Ok((number, remark)),
        _ => Err(Fault::new("the number is too large")),
    }
}

pub(crate) fn count(text: &str) -> Read<u32> {
    match small(text, &[])? {
        (0, _) => Ok((1, Some(Fault::new("0 is read as 1")))),
        read => Ok(read),
    }
}

/// As [`count`]; `auto` counts the CPUs that this process may use: its affinity and the quota of its cgroup, rounded
/// down.
pub(crate) fn workers(text: &str) -> Read<u32> {
    let (bare, remark) = without_comment(text);
    if bare != "auto" {
        return count(text);
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    Ok((u32::try_from(cpus).unwrap_or(1), remark))
}

pub(crate) fn percent(text: &str) -> Read<u32> {
    match small(text, &["%"])? {
        (101.., _) => Err(Fault::new("it is more than 100 percent")),
        read => Ok(read),
    }
}

pub(crate) fn scaling(text: &str) -> Read<ScalingAlgorithm> {
    let (bare, remark) = without_comment(text);
    let algorithm = match bare {
        "spare" => ScalingAlgorithm::Spare,
        "backlog" => ScalingAlgorithm::Backlog,
        "busyness" => ScalingAlgorithm::Busyness,
        "manual" => ScalingAlgorithm::Manual,
        "spare2" | "backlog2" => {
            return Err(Fault::new("this algorithm is not here").hint("write spare or busyness"));
        }
        _ => {
            return Err(
                Fault::new("it is no algorithm").hint("write spare, backlog, busyness or manual")
            );
        }
    };
    Ok((algorithm, remark))
}

pub(crate) fn seconds(text: &str) -> Read<Duration> {
    let (number, remark) =
        small(text, &["s", "sec", "secs", "second", "seconds"]).map_err(|fault| {
            match &fault.hint {
                None => fault.hint("write the time in whole seconds"),
                Some(_) => fault,
            }
        })?;
    Ok((Duration::from_secs(number.into()), remark))
}

pub(crate) fn megabytes(text: &str) -> Read<u64> {
    let (number, remark) = whole(text, &["m", "mb", "mib"])?;
    match number.checked_mul(1 << 20) {
        Some(bytes) => Ok((bytes, remark)),
        None => Err(Fault::new("the number is too large").hint("the unit is MiB")),
    }
}

pub(crate) fn block_size(text: &str) -> Read<u32> {
    const LARGEST: u64 = 65535;
    let (number, remark) =
        whole(text, &["b", "bytes"]).map_err(|fault| match in_kilobytes(text) {
            Some(bytes) => fault.hint(format!("the unit is bytes: write {bytes}")),
            None => fault,
        })?;
    match u32::try_from(number.min(LARGEST)) {
        Ok(0) => Err(Fault::new("it must be more than 0")),
        Ok(size) if number > LARGEST => Ok((
            size,
            Some(Fault::new(
                "the protocol allows no more than 65535, which is used",
            )),
        )),
        Ok(size) => Ok((size, remark)),
        Err(_) => Err(Fault::new("the number is too large")),
    }
}

pub(crate) fn in_kilobytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(['k', 'K', 'b', 'B', 'i']);
    if digits.len() == text.len() {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1024)
}

pub(crate) fn buffering(text: &str) -> Read<u64> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "" => Ok((
            0,
            Some(Fault::new("it is read as 0, as uWSGI does").hint("write a size in bytes")),
        )),
        "false" | "no" | "off" => Ok((0, None)),
        _ => whole(text, &["b", "bytes"]),
    }
}

/// How long an idle HTTP connection is kept when no time is given.
const USUAL_KEEPALIVE: Duration = Duration::from_secs(5);

pub(crate) fn keepalive(text: &str) -> Read<Duration> {
    match text.to_ascii_lowercase().as_str() {
        "" | "true" | "yes" | "on" | "1" => Ok((USUAL_KEEPALIVE, None)),
        "false" | "no" | "off" => Ok((Duration::ZERO, None)),
        _ => seconds(text),
    }
}

/// Digits that are all octal, or the fault with its hint.
pub(crate) fn octal(text: &str, example: &str) -> Result<u32, Fault> {
    let fault = || match inline_comment(text) {
        Some(bare) => Fault::new("the comment behind it is part of the value").hint(format!(
            "write {bare} and put the comment on a line of its own"
        )),
        None => {
            Fault::new("it is not an octal number").hint(format!("write for example {example}"))
        }
    };
    if text.is_empty() || !text.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return Err(fault());
    }
    u32::from_str_radix(text, 8).map_err(|_| fault())
}

pub(crate) fn mask(text: &str) -> Read<u32> {
    match octal(text, "022")? {
        mask if mask > 0o777 => Err(Fault::new("it is more than 777")),
        mask => Ok((mask, None)),
    }
}

pub(crate) fn socket_mode(text: &str) -> Read<u32> {
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

pub(crate) fn wire(text: &str) -> Read<Wire> {
    match text {
        "uwsgi" => Ok((Wire::Uwsgi, None)),
        "http" | "http11" => Ok((Wire::Http, None)),
        "fastcgi" | "scgi" | "suwsgi" | "https" | "raw" | "puwsgi" | "fastcgi-nph" | "scgi-nph" => {
            Err(Fault::new("this protocol is not here")
                .hint("use uwsgi or http, with nginx in front for anything else"))
        }
        _ => Err(Fault::new("there is no such protocol").hint("write uwsgi or http")),
    }
}

pub(crate) fn compat(text: &str) -> Read<Compat> {
    match text {
        "uwsgi" => Ok((Compat::Uwsgi, None)),
        _ => Err(Fault::new("there are no such defaults").hint("write compat = uwsgi")),
    }
}

pub(crate) fn owner(text: &str) -> Read<Owner> {
    let (bare, remark) = without_comment(text);
    let (user, group) = bare.split_once(':').unwrap_or((bare, ""));
    let part = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    match (part(user), part(group)) {
        (None, None) => {
            Err(Fault::new("neither a user nor a group is given").hint("write user:group"))
        }
        (user, group) => Ok((Owner { user, group }, remark)),
    }
}
