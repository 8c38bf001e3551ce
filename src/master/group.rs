//! The limits that a vassal's own file sets to the cgroup in which its emperor has put it. The emperor writes them, and
//! they hold beside its own: a vassal can only narrow what it may take.

use anyhow::{Result, bail};

use crate::config::Config;
use crate::process::cgroup_limits;

use super::emperor_link::{EmperorLink, Narrowed};

/// Whether somebody can keep the limits that the configuration sets, if it sets any.
///
/// # Errors
/// When nobody can.
pub(super) fn check(config: &Config, emperor: &EmperorLink) -> Result<()> {
    if cgroup_limits(config).is_none() || emperor.is_grouped() {
        return Ok(());
    }
    if emperor.is_vassal() {
        bail!(
            "cgroup-memory-max, cgroup-cpu-max and cgroup-pids-max cannot be kept, because the emperor makes no cgroups: set one of them in the emperor's own configuration (max is no limit), and Delegate=yes in its systemd unit"
        );
    }
    bail!(
        "cgroup-memory-max, cgroup-cpu-max and cgroup-pids-max hold for the vassals of an emperor: limit an instance of its own by MemoryMax=, CPUQuota= and TasksMax= of its systemd unit (ruwsgi@.service)"
    );
}

/// Puts them in force; `false` when the instance is not wanted any more.
///
/// # Errors
/// When that is not possible.
pub(super) fn limit_at_start(config: &Config, emperor: &EmperorLink) -> Result<bool> {
    check(config, emperor)?;
    let Some(limits) = cgroup_limits(config) else {
        return Ok(true);
    };
    match emperor.limit_and_wait(limits) {
        Narrowed::Done => Ok(true),
        Narrowed::Stopped => Ok(false),
        Narrowed::Refused(reason) => bail!("its limits cannot be set: {reason}"),
    }
}

/// A generation of `next` is prepared beside one of `now`, in the same group: the wider of their limits holds.
pub(super) fn limit_both(now: &Config, next: &Config, emperor: &EmperorLink) {
    let limits = |config| cgroup_limits(config).unwrap_or_default();
    emperor.limit(limits(now).widened(limits(next)));
}

/// There is only this configuration's generation.
pub(super) fn limit(config: &Config, emperor: &EmperorLink) {
    emperor.limit(cgroup_limits(config).unwrap_or_default());
}
