//! The limits of a cgroup, and the files to which they are written (cgroup-v2, "Interface Files").

use serde::{Deserialize, Serialize};

/// The text that means "no limit" in the kernel's files.
const NO_LIMIT: &str = "max";

/// The limits of a cgroup. A field of `None` means no limit.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Limits {
    /// `memory.max`, bytes.
    pub(crate) memory: Option<u64>,
    /// `cpu.max`: CPU time per period.
    pub(crate) cpu: Option<CpuQuota>,
    /// `pids.max`: processes and threads.
    pub(crate) tasks: Option<u64>,
}

/// A limit of CPU time: `quota` in each `period`, both in microseconds.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuQuota {
    pub(crate) quota: u64,
    pub(crate) period: u64,
}

/// One limit, as the text that is written to a file of the cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The configuration's option that sets the limit.
    pub(crate) option: &'static str,
    /// The controller that must be enabled for the limit.
    pub(crate) controller: &'static str,
    /// The file's name.
    pub(crate) file: &'static str,
    /// The file's content; `max` where there is no limit.
    pub(crate) text: String,
}

impl Setting {
    /// Whether the setting is a limit, not `max`.
    pub(crate) fn limits(&self) -> bool {
        self.text != NO_LIMIT
    }
}

impl CpuQuota {
    /// The share of one CPU, in percent, rounded down.
    pub(crate) fn percent(self) -> u64 {
        let percent = u128::from(self.quota) * 100 / u128::from(self.period.max(1));
        u64::try_from(percent).unwrap_or(u64::MAX)
    }

    /// Whether this quota gives less CPU time than `other`.
    fn is_below(self, other: Self) -> bool {
        u128::from(self.quota) * u128::from(other.period)
            < u128::from(other.quota) * u128::from(self.period)
    }
}

impl Limits {
    /// For each kind of limit, the tighter one of `self` and `other`.
    pub(crate) fn narrowed(self, other: Self) -> Self {
        let tighter = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
        Self {
            memory: tighter(self.memory, other.memory),
            cpu: match (self.cpu, other.cpu) {
                (Some(own), Some(other)) if own.is_below(other) => Some(own),
                (own, other) => other.or(own),
            },
            tasks: tighter(self.tasks, other.tasks),
        }
    }

    /// For each kind of limit, the wider one of `self` and `other`. If either has no limit, the result has no limit.
    pub(crate) fn widened(self, other: Self) -> Self {
        let wider = |one: Option<u64>, other: Option<u64>| Some(one?.max(other?));
        let cpu = |one: Option<CpuQuota>, other: Option<CpuQuota>| {
            let (one, other) = (one?, other?);
            Some(if one.is_below(other) { other } else { one })
        };
        Self {
            memory: wider(self.memory, other.memory),
            cpu: cpu(self.cpu, other.cpu),
            tasks: wider(self.tasks, other.tasks),
        }
    }

    /// The files of the cgroup with the contents that set these limits.
    pub(crate) fn settings(&self) -> [Setting; 3] {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let cpu = self
            .cpu
            .map(|share| format!("{} {}", share.quota, share.period));
        let setting = |option, controller, file, text: Option<String>| Setting {
            option,
            controller,
            file,
            text: text.unwrap_or_else(|| NO_LIMIT.to_owned()),
        };
        [
            setting(
                "cgroup-memory-max",
                "memory",
                "memory.max",
                number(self.memory),
            ),
            setting("cgroup-cpu-max", "cpu", "cpu.max", cpu),
            setting("cgroup-pids-max", "pids", "pids.max", number(self.tasks)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(memory: Option<u64>, cpu: Option<(u64, u64)>, tasks: Option<u64>) -> Limits {
        let cpu = cpu.map(|(quota, period)| CpuQuota { quota, period });
        Limits { memory, cpu, tasks }
    }

    #[test]
    fn the_tighter_of_two_limits_holds() {
        let own = limits(Some(512), Some((50_000, 100_000)), None);
        let asked = limits(Some(1024), Some((10_000, 50_000)), Some(20));
        let held = limits(Some(512), Some((10_000, 50_000)), Some(20));
        assert_eq!(own.narrowed(asked), held);
        assert_eq!(asked.narrowed(own), held);
        assert_eq!(own.narrowed(Limits::default()), own);
        assert_eq!(Limits::default().narrowed(own), own);
    }

    #[test]
    fn the_wider_of_two_limits_holds_for_two_generations() {
        let before = limits(Some(512), Some((50_000, 100_000)), Some(5));
        let after = limits(Some(1024), Some((10_000, 50_000)), None);
        let both = limits(Some(1024), Some((50_000, 100_000)), None);
        assert_eq!(before.widened(after), both);
        assert_eq!(after.widened(before), both);
    }

    #[test]
    fn limits_are_written_as_the_kernel_reads_them() {
        let texts = |limits: Limits| limits.settings().map(|setting| setting.text);
        let set = limits(Some(1 << 20), Some((50_000, 100_000)), Some(7));
        assert_eq!(texts(set), ["1048576", "50000 100000", "7"]);
        assert_eq!(texts(Limits::default()), ["max", "max", "max"]);
    }

    #[test]
    fn quotas_of_different_periods_compare() {
        let quota = |quota, period| CpuQuota { quota, period };
        let (half, third) = (quota(50_000, 100_000), quota(10_000, 30_000));
        assert!(third.is_below(half) && !half.is_below(third) && !half.is_below(half));
        assert_eq!((half.percent(), third.percent()), (50, 33));
    }
}
