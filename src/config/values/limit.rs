//! Resource limits of a vassal's cgroup: memory, CPU time, tasks.

use crate::config::finding::Fault;

use super::setting::{Parsed, Value};
use super::text::{before_comment, without_comment};

/// A maximum, or no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit<T> {
    /// `max`: no limit.
    Unlimited,
    /// The maximum.
    Max(T),
}

impl<T> Limit<T> {
    /// The maximum; `None` if there is no limit.
    pub(crate) fn max(self) -> Option<T> {
        match self {
            Self::Unlimited => None,
            Self::Max(limit) => Some(limit),
        }
    }
}

/// A share of CPU time: `quota` microseconds in each `period` of microseconds, as in `cpu.max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuShare {
    pub(crate) quota: u64,
    pub(crate) period: u64,
}

/// The period of a CPU limit that is given in percent, in microseconds. This is the kernel's default.
const DEFAULT_PERIOD: u64 = 100_000;

/// The periods that the kernel accepts, in microseconds.
const PERIODS: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;

/// The minimum quota that the kernel accepts, in microseconds.
const MIN_QUOTA: u64 = 1_000;

/// Minimum memory limit, in bytes. Every interpreter needs more, so a smaller number was written without its unit.
const MIN_MEMORY: u64 = 1 << 20;

/// A memory limit in bytes; the units K, M, G and T are powers of 1024.
pub(crate) struct MemoryLimit;

impl Value for MemoryLimit {
    type Stored = Limit<u64>;
    type Ref<'a> = Limit<u64>;
    const ARG: &'static str = "BYTES";

    fn parse(text: &str) -> Parsed<Limit<u64>> {
        limit(text, memory)
    }

    fn get(stored: &Limit<u64>) -> Limit<u64> {
        *stored
    }
}

/// A CPU limit in percent of one CPU, or as `QUOTA PERIOD`.
pub(crate) struct CpuLimit;

impl Value for CpuLimit {
    type Stored = Limit<CpuShare>;
    type Ref<'a> = Limit<CpuShare>;
    const ARG: &'static str = "PERCENT";

    fn parse(text: &str) -> Parsed<Limit<CpuShare>> {
        limit(text, cpu)
    }

    fn get(stored: &Limit<CpuShare>) -> Limit<CpuShare> {
        *stored
    }
}

/// A limit on the number of tasks: processes and threads.
pub(crate) struct TasksLimit;

impl Value for TasksLimit {
    type Stored = Limit<u64>;
    type Ref<'a> = Limit<u64>;
    const ARG: &'static str = "COUNT";

    fn parse(text: &str) -> Parsed<Limit<u64>> {
        limit(text, tasks)
    }

    fn get(stored: &Limit<u64>) -> Limit<u64> {
        *stored
    }
}

fn limit<T>(text: &str, parse: impl Fn(&str) -> Result<T, Fault>) -> Parsed<Limit<T>> {
    let (value, remark) = without_comment(text);
    match value {
        "max" => Ok((Limit::Unlimited, remark)),
        _ => Ok((Limit::Max(parse(value)?), remark)),
    }
}

fn memory(text: &str) -> Result<u64, Fault> {
    let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let number =
        number(text, digits).map_err(|fault| fault.or_hint("write for example 512M, or max"))?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let shift = match unit.strip_suffix('i').unwrap_or(unit) {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => {
            return Err(Fault::new("the value is not a size in bytes")
                .hint("write for example 512M, 2G or max"));
        }
    };
    let bytes = number.checked_mul(1 << shift);
    match bytes.ok_or_else(|| Fault::new("the number is too large"))? {
        bytes if bytes >= MIN_MEMORY => Ok(bytes),
        bytes if shift == 0 && bytes > 0 => {
            Err(Fault::new(format!("no application runs in {bytes} bytes"))
                .hint(format!("write {bytes}M for {bytes} MiB")))
        }
        _ => {
            Err(Fault::new("no application runs in less than 1 MiB").hint("write for example 512M"))
        }
    }
}

fn cpu(text: &str) -> Result<CpuShare, Fault> {
    const HINT: &str = "write a share of one CPU, for example 50% or 150%, or quota and period in microseconds, for example 50000 100000";
    let hinted = |fault: Fault| fault.or_hint(HINT);
    match text
        .split_once([' ', '\t'])
        .filter(|_| !text.ends_with('%'))
    {
        Some((quota, period)) => share(
            number(text, quota).map_err(hinted)?,
            number(text, period.trim_start()).map_err(hinted)?,
        ),
        // the % may be missing, because, as in uWSGI, a % at the end of a line is removed when the file is read
        None => {
            let percent = number(text, text.trim_end_matches('%').trim_end()).map_err(hinted)?;
            let quota = percent.checked_mul(DEFAULT_PERIOD / 100);
            share(quota.unwrap_or(u64::MAX), DEFAULT_PERIOD)
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
    if quota < MIN_QUOTA {
        return Err(Fault::new("no application runs with less than 1% of a CPU")
            .hint("write for example 50%"));
    }
    Ok(CpuShare { quota, period })
}

fn tasks(text: &str) -> Result<u64, Fault> {
    match number(text, text)? {
        0 => {
            Err(Fault::new("no application runs without a task")
                .hint("write for example 100, or max"))
        }
        number => Ok(number),
    }
}

fn number(text: &str, digits: &str) -> Result<u64, Fault> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let value = before_comment(text).unwrap_or(text);
        return Err(match value {
            "" => Fault::new("the value is empty").hint("write a number"),
            _ if value.starts_with('-') => Fault::new("the number must not be negative"),
            _ => Fault::new("the value is not a whole number"),
        });
    }
    // the kernel uses signed 64-bit numbers for limits
    match digits.parse::<u64>() {
        Ok(number) if number <= i64::MAX.unsigned_abs() => Ok(number),
        _ => Err(Fault::new("the number is too large")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn limit_of<V: Value<Stored = Limit<T>>, T>(text: &str) -> Option<T> {
        V::parse(text).unwrap().0.max()
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
            assert_eq!(limit_of::<MemoryLimit, _>(text), Some(bytes), "{text}");
        }
        assert_eq!(limit_of::<MemoryLimit, _>("max"), None);
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
            assert!(MemoryLimit::parse(text).is_err(), "{text}");
        }
        let fault = MemoryLimit::parse("512").unwrap_err();
        assert_eq!(fault.hint.unwrap(), "write 512M for 512 MiB");
    }

    #[test]
    fn cpu_time_is_a_share_of_one_cpu_or_a_quota_in_a_period() {
        let share = |quota, period| Some(CpuShare { quota, period });
        assert_eq!(limit_of::<CpuLimit, _>("50%"), share(50_000, 100_000));
        assert_eq!(limit_of::<CpuLimit, _>("50"), share(50_000, 100_000));
        assert_eq!(limit_of::<CpuLimit, _>("150 %"), share(150_000, 100_000));
        assert_eq!(limit_of::<CpuLimit, _>("5000  20000"), share(5_000, 20_000));
        assert_eq!(limit_of::<CpuLimit, _>("max"), None);
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
            assert!(CpuLimit::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tasks_are_counted() {
        assert_eq!(limit_of::<TasksLimit, _>("100"), Some(100));
        assert_eq!(limit_of::<TasksLimit, _>("max"), None);
        for text in ["", "0", "-4", "many", "18446744073709551615"] {
            assert!(TasksLimit::parse(text).is_err(), "{text}");
        }
    }
}
