//! The cgroup limits in a vassal's own configuration. The emperor writes them to the vassal's cgroup. The emperor's own
//! limits apply too, so a vassal can only narrow them.

use anyhow::{Result, bail};

use crate::config::Config;
use crate::process::cgroup_limits;

use super::emperor_link::{EmperorLink, LimitsResult};

/// Checks that the configured limits can be applied.
///
/// Returns an error if limits are configured and the instance does not run in a cgroup of an emperor.
pub(super) fn check(config: &Config, emperor: &EmperorLink) -> Result<()> {
    if cgroup_limits(config).is_none() || emperor.is_in_cgroup() {
        return Ok(());
    }
    if emperor.is_vassal() {
        bail!(
            "cgroup-memory-max, cgroup-cpu-max and cgroup-pids-max cannot be applied, because the emperor creates no cgroups: set one of them in the emperor's configuration (max is no limit), and Delegate=yes in its systemd unit"
        );
    }
    bail!(
        "cgroup-memory-max, cgroup-cpu-max and cgroup-pids-max apply to the vassals of an emperor only: limit an instance without an emperor by MemoryMax=, CPUQuota= and TasksMax= of its systemd unit (ruwsgi@.service)"
    );
}

/// Asks the emperor to apply the configured limits, and blocks until it has answered. Returns `false` if the emperor
/// stops the instance meanwhile.
///
/// # Errors
/// When the limits cannot be applied, or the emperor does not answer in time.
pub(super) fn apply_at_start(config: &Config, emperor: &EmperorLink) -> Result<bool> {
    check(config, emperor)?;
    let Some(limits) = cgroup_limits(config) else {
        return Ok(true);
    };
    match emperor.limit_and_wait(limits) {
        LimitsResult::Applied => Ok(true),
        LimitsResult::Stopped => Ok(false),
        LimitsResult::Refused(reason) => bail!("the cgroup limits cannot be set: {reason}"),
    }
}

/// Asks the emperor to apply the limits of `now` or `next`, whichever are wider, because the generations of both
/// configurations run in the same cgroup. Does not wait for the answer.
pub(super) fn apply_both(now: &Config, next: &Config, emperor: &EmperorLink) {
    let limits = |config| cgroup_limits(config).unwrap_or_default();
    emperor.limit(limits(now).widened(limits(next)));
}

/// Asks the emperor to apply the limits of the only running configuration. Does not wait for the answer.
pub(super) fn apply(config: &Config, emperor: &EmperorLink) {
    emperor.limit(cgroup_limits(config).unwrap_or_default());
}
