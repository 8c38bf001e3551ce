//! The settings that hold for all vassals.

use std::time::Duration;

use super::cgroups::Cgroups;
use super::spawn::Launcher;
use super::vassal::life_cycle::Delays;

/// The settings that hold for all vassals.
pub(super) struct Policy {
    pub(super) delays: Delays,
    pub(super) launcher: Launcher,
    /// Each vassal runs in a cgroup; `None`: there are none.
    pub(super) cgroups: Option<Cgroups>,
    /// How long a vassal may be silent after a heartbeat (`emperor-required-heartbeat`); zero: without limit.
    pub(super) required_heartbeat: Duration,
    /// Starts and reloads that may run at once.
    pub(super) max_concurrent_starts: usize,
    /// Each vassal runs as the owner of its file (`emperor-tyrant`).
    pub(super) tyrant: bool,
    /// Also where that is root (`emperor-tyrant-root`).
    pub(super) tyrant_root: bool,
}
