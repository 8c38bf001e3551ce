//! The most that a vassal's group may take: memory, CPU time, tasks.

use crate::config::finding::Fault;
use crate::config::values::parse::{inline_comment, not_a_number, without_comment};
use crate::config::values::setting::{Read, Value};

/// A limit, or that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Most<T> {
    /// `max`.
    Everything,
    /// So much.
    Of(T),
}

impl<T> Most<T> {
    /// The limit, if there is one.
    pub(crate) fn limit(self) -> Option<T> {
        match self {
            Self::Everything => None,
            Self::Of(limit) => Some(limit),
        }
    }
}

/// A share of CPU time: so many microseconds in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuShare {
    pub(crate) quota: u64,
    pub(crate) period: u64,
}

/// The period of a share in percent: the kernel's own.
const USUAL_PERIOD: u64 = 100_000;

/// What the kernel takes for a period, in microseconds.
const PERIODS: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;

/// The least quota that it takes.
const LEAST_QUOTA: u64 = 1_000;

/// In less no interpreter starts: a unit was forgotten.
const LEAST_MEMORY: u64 = 1 << 20;

/// Memory in bytes, with K, M, G or T for powers of 1024.
pub(crate) struct MemoryMost;

impl Value for MemoryMost {
    type Is = Most<u64>;
    type Got<'a> = Most<u64>;
    const ARG: &'static str = "BYTES";

    fn parse(text: &str) -> Read<Most<u64>> {
        most(text, memory)
    }

    fn got(is: &Most<u64>) -> Most<u64> {
        *is
    }
}

/// CPU time, in percent of one CPU or as `QUOTA PERIOD`.
pub(crate) struct CpuMost;

impl Value for CpuMost {
    type Is = Most<CpuShare>;
    type Got<'a> = Most<CpuShare>;
    const ARG: &'static str = "PERCENT";

    fn parse(text: &str) -> Read<Most<CpuShare>> {
        most(text, cpu)
    }

    fn got(is: &Most<CpuShare>) -> Most<CpuShare> {
        *is
    }
}

/// A number of tasks: processes and threads.
pub(crate) struct TasksMost;

impl Value for TasksMost {
    type Is = Most<u64>;
    type Got<'a> = Most<u64>;
    const ARG: &'static str = "COUNT";

    fn parse(text: &str) -> Read<Most<u64>> {
        most(text, tasks)
    }

    fn got(is: &Most<u64>) -> Most<u64> {
        *is
    }
}

fn most<T>(text: &str, limit: impl Fn(&str) -> Result<T, Fault>) -> Read<Most<T>> {
    let (bare, remark) = without_comment(text);
    match bare {
        "max" => Ok((Most::Everything, remark)),
        _ => Ok((Most::Of(limit(bare)?), remark)),
    }
}

fn memory(text: &str) -> Result<u64, Fault> {
    let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let number = number(text, digits).map_err(|fault| match fault.hint {
        None => fault.hint("write for example 512M, or max"),
        Some(_) => fault,
    })?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let shift = match unit.strip_suffix('i').unwrap_or(unit) {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => {
            return Err(
                Fault::new("it is no size in bytes").hint("write for example 512M, 2G or max")
            );
        }
    };
    let bytes = number.checked_mul(1 << shift);
    match bytes.ok_or_else(|| Fault::new("the number is too large"))? {
        bytes if bytes >= LEAST_MEMORY => Ok(bytes),
        bytes if shift == 0 && bytes > 0 => Err(Fault::new(format!(
            "it is {bytes} bytes, in which nothing runs"
        ))
        .hint(format!("write {bytes}M if MiB are meant"))),
        _ => Err(Fault::new("nothing runs in less than 1 MiB").hint("write for example 512M")),
    }
}

fn cpu(text: &str) -> Result<CpuShare, Fault> {
    const HINT: &str = "write a share of one CPU, for example 50% or 150%, or quota and period in microseconds, for example 50000 100000";
    let hinted = |fault: Fault| match fault.hint {
        None => fault.hint(HINT),
        Some(_) => fault,
    };
    match text
        .split_once([' ', '\t'])
        .filter(|_| !text.ends_with('%'))
    {
        Some((quota, period)) => share(
            number(text, quota).map_err(hinted)?,
            number(text, period.trim_start()).map_err(hinted)?,
        ),
        // a file's last % is taken away, as uWSGI does it, before a value is read
        None => {
            let percent = number(text, text.trim_end_matches('%').trim_end()).map_err(hinted)?;
            let quota = percent.checked_mul(USUAL_PERIOD / 100);
            share(quota.unwrap_or(u64::MAX), USUAL_PERIOD)
        }
    }
}

fn share(quota: u64, period: u64) -> Result<CpuShare, Fault> {
    if !PERIODS.contains(&period) {
        return Err(Fault::new(
            "the period is not between 1000 and 1000000 microseconds",
        ));
    }
    if i64::try_from(quota).is_err() {
        return Err(Fault::new("the number is too large"));
    }
    if quota < LEAST_QUOTA {
        return Err(
            Fault::new("it is less than 1% of a CPU, in which nothing runs")
                .hint("write for example 50%"),
        );
    }
    Ok(CpuShare { quota, period })
}

fn tasks(text: &str) -> Result<u64, Fault> {
    match number(text, text)? {
        0 => Err(Fault::new("nothing runs without a task").hint("write for example 100, or max")),
        number => Ok(number),
    }
}

fn number(text: &str, digits: &str) -> Result<u64, Fault> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(not_a_number(inline_comment(text).unwrap_or(text)));
    }
    // the kernel counts with a sign
    match digits.parse::<u64>() {
        Ok(number) if number <= i64::MAX.unsigned_abs() => Ok(number),
        _ => Err(Fault::new("the number is too large")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn limit_of<V: Value<Is = Most<T>>, T>(text: &str) -> Option<T> {
        V::parse(text).unwrap().0.limit()
    }

    #[test]
    fn memory_is_in_bytes_with_units() {
        for (text, bytes) in [
            ("1048576", 1 << 20),
            ("512M", 512 << 20),
            ("512 MiB", 512 << 20),
            ("2g", 2 << 30),
            ("4096KB", 4 << 20),
            ("1T", 1 << 40),
        ] {
            assert_eq!(limit_of::<MemoryMost, _>(text), Some(bytes), "{text}");
        }
        assert_eq!(limit_of::<MemoryMost, _>("max"), None);
        for text in [
            "",
            "512",
            "512K",
            "0",
            "-1M",
            "many",
            "1.5G",
            "512X",
            "99999999999T",
        ] {
            assert!(MemoryMost::parse(text).is_err(), "{text}");
        }
        let fault = MemoryMost::parse("512").unwrap_err();
        assert_eq!(fault.hint.unwrap(), "write 512M if MiB are meant");
    }

    #[test]
    fn cpu_time_is_a_share_of_one_cpu_or_a_quota_in_a_period() {
        let share = |quota, period| Some(CpuShare { quota, period });
        assert_eq!(limit_of::<CpuMost, _>("50%"), share(50_000, 100_000));
        assert_eq!(limit_of::<CpuMost, _>("50"), share(50_000, 100_000));
        assert_eq!(limit_of::<CpuMost, _>("150 %"), share(150_000, 100_000));
        assert_eq!(limit_of::<CpuMost, _>("5000  20000"), share(5_000, 20_000));
        assert_eq!(limit_of::<CpuMost, _>("max"), None);
        for text in [
            "",
            "0%",
            "%",
            "half",
            "100 100000",
            "5000 5",
            "5000 2000000",
            "1 2 3",
        ] {
            assert!(CpuMost::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tasks_are_counted() {
        assert_eq!(limit_of::<TasksMost, _>("100"), Some(100));
        assert_eq!(limit_of::<TasksMost, _>("max"), None);
        for text in ["", "0", "-4", "many", "18446744073709551615"] {
            assert!(TasksMost::parse(text).is_err(), "{text}");
        }
    }
}
