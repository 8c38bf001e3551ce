//! The cgroup limits that a configuration sets.

use crate::config::{Config, Limit};
use crate::sys::cgroup::{CpuQuota, Limits};

/// The limits that a configuration sets. `None` if the options `cgroup-memory-max`, `cgroup-cpu-max` and
/// `cgroup-pids-max` are all absent.
pub(crate) fn cgroup_limits(config: &Config) -> Option<Limits> {
    let memory = config.cgroup_memory_max();
    let cpu = config.cgroup_cpu_max();
    let tasks = config.cgroup_pids_max();
    let is_set = memory.is_some() || cpu.is_some() || tasks.is_some();
    is_set.then(|| Limits {
        memory: memory.and_then(Limit::max),
        cpu: cpu.and_then(Limit::max).map(|share| CpuQuota {
            quota: share.quota,
            period: share.period,
        }),
        tasks: tasks.and_then(Limit::max),
    })
}
