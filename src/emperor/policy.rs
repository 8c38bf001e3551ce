//! `Policy`: the options of the emperor that apply to every vassal.

use std::time::Duration;

use super::cgroups::Cgroups;
use super::spawn::Launcher;
use super::vassal::life_cycle::Delays;

/// The options of the emperor that apply to every vassal.
pub(super) struct Policy {
    pub(super) delays: Delays,
    pub(super) launcher: Launcher,
    /// The cgroups of the vassals; `None` if the emperor creates no cgroups.
    pub(super) cgroups: Option<Cgroups>,
    /// Maximum time from a heartbeat to the next (`emperor-required-heartbeat`); zero means no limit.
    pub(super) required_heartbeat: Duration,
    /// Maximum number of starts and reloads at the same time.
    pub(super) max_concurrent_starts: usize,
    /// Whether each vassal runs as the owner of its file (`emperor-tyrant`).
    pub(super) tyrant: bool,
    /// Whether a vassal may run as root if root owns its file (`emperor-tyrant-root`).
    pub(super) tyrant_root: bool,
}
