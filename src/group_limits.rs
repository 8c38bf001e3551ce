//! What the cgroup of a vassal may take: on its way from the configuration, over the channel, to the kernel's files.

use serde::{Deserialize, Serialize};

use crate::config::{Config, CpuShare, Most};

/// The limits of a group; `None`: no limit.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct GroupLimits {
    /// `cgroup-memory-max`, bytes.
    pub(crate) memory: Option<u64>,
    /// `cgroup-cpu-max`.
    pub(crate) cpu: Option<CpuShare>,
    /// `cgroup-pids-max`.
    pub(crate) tasks: Option<u64>,
}

/// One of the three.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) option: &'static str,
    /// The kernel's controller that has to be there.
    pub(crate) controller: &'static str,
    /// The group's file.
    pub(crate) file: &'static str,
    /// What is written to it; `max` where there is no limit.
    pub(crate) text: String,
}

impl Setting {
    /// Whether it limits anything.
    pub(crate) fn limits(&self) -> bool {
        self.text != NO_LIMIT
    }
}

/// The kernel's word for it.
const NO_LIMIT: &str = "max";

impl GroupLimits {
    /// What a configuration says; `None` where it does not speak of groups at all.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let memory = config.cgroup_memory_max();
        let cpu = config.cgroup_cpu_max();
        let tasks = config.cgroup_pids_max();
        let spoken = memory.is_some() || cpu.is_some() || tasks.is_some();
        spoken.then(|| Self {
            memory: memory.and_then(Most::limit),
            cpu: cpu.and_then(Most::limit),
            tasks: tasks.and_then(Most::limit),
        })
    }

    /// The tighter one of each.
    pub(crate) fn narrowed(self, asked: Self) -> Self {
        let tighter = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
        Self {
            memory: tighter(self.memory, asked.memory),
            cpu: match (self.cpu, asked.cpu) {
                (Some(own), Some(asked)) if own.is_below(asked) => Some(own),
                (own, asked) => asked.or(own),
            },
            tasks: tighter(self.tasks, asked.tasks),
        }
    }

    /// The wider one of each.
    pub(crate) fn widened(self, other: Self) -> Self {
        let wider = |one: Option<u64>, other: Option<u64>| Some(one?.max(other?));
        let cpu = |one: Option<CpuShare>, other: Option<CpuShare>| {
            let (one, other) = (one?, other?);
            Some(if one.is_below(other) { other } else { one })
        };
        Self {
            memory: wider(self.memory, other.memory),
            cpu: cpu(self.cpu, other.cpu),
            tasks: wider(self.tasks, other.tasks),
        }
    }

    /// The kernel's files and what is written to them.
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

    fn limits(memory: Option<u64>, cpu: Option<(u64, u64)>, tasks: Option<u64>) -> GroupLimits {
        let cpu = cpu.map(|(quota, period)| CpuShare { quota, period });
        GroupLimits { memory, cpu, tasks }
    }

    #[test]
    fn who_asks_can_only_narrow() {
        let own = limits(Some(512), Some((50_000, 100_000)), None);
        let asked = limits(Some(1024), Some((10_000, 50_000)), Some(20));
        let held = limits(Some(512), Some((10_000, 50_000)), Some(20));
        assert_eq!(own.narrowed(asked), held);
        assert_eq!(asked.narrowed(own), held);
        assert_eq!(own.narrowed(GroupLimits::default()), own);
        assert_eq!(GroupLimits::default().narrowed(own), own);
    }

    #[test]
    fn while_two_generations_are_there_the_wider_holds() {
        let before = limits(Some(512), Some((50_000, 100_000)), Some(5));
        let after = limits(Some(1024), Some((10_000, 50_000)), None);
        let both = limits(Some(1024), Some((50_000, 100_000)), None);
        assert_eq!(before.widened(after), both);
        assert_eq!(after.widened(before), both);
    }

    #[test]
    fn limits_are_written_as_the_kernel_reads_them() {
        let texts = |limits: GroupLimits| limits.settings().map(|setting| setting.text);
        let set = limits(Some(1 << 20), Some((50_000, 100_000)), Some(7));
        assert_eq!(texts(set), ["1048576", "50000 100000", "7"]);
        assert_eq!(texts(GroupLimits::default()), ["max", "max", "max"]);
    }
}
