//! The settings that are the same for all vassals.

use std::time::Duration;

use super::cgroups::Cgroups;
use super::spawn::Launcher;
use super::vassal::life_cycle::Delays;

/// The settings that are the same for all vassals.
pub(super) struct Policy {
    pub(super) delays: Delays,
    pub(super) launcher: Launcher,
    /// The cgroups of the vassals; `None` if the emperor creates no cgroups.
    pub(super) cgroups: Option<Cgroups>,
    /// How long a vassal may send nothing after a heartbeat (`emperor-required-heartbeat`); zero: no limit.
    pub(super) required_heartbeat: Duration,
    /// Maximum starts and reloads at the same time.
    pub(super) max_concurrent_starts: usize,
    /// Whether each vassal runs as the owner of its file (`emperor-tyrant`).
    pub(super) tyrant: bool,
    /// Whether a vassal may run as root if root owns its file (`emperor-tyrant-root`).
    pub(super) tyrant_root: bool,
}
