//! The statistics of an emperor, with the field names of uWSGI's `emperor-stats`.

use serde::Serialize;

/// The statistics of an emperor.
#[derive(Serialize, Default)]
pub(crate) struct EmperorStats {
    pub(crate) version: &'static str,
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) cwd: String,
    pub(crate) emperor: Vec<String>,
    pub(crate) emperor_tyrant: u8,
    pub(crate) throttle_level: u8,
    pub(crate) vassals: Vec<VassalStats>,
    pub(crate) blacklist: Vec<BackoffStats>,
}

/// The statistics of a vassal. Times are in seconds since 1970; 0 means never.
#[derive(Serialize, Default)]
pub(crate) struct VassalStats {
    pub(crate) id: String,
    pub(crate) pid: i32,
    pub(crate) born: u64,
    pub(crate) last_mod: i64,
    pub(crate) last_heartbeat: u64,
    pub(crate) loyal: u8,
    pub(crate) ready: u8,
    pub(crate) accepting: u8,
    pub(crate) last_loyal: u64,
    pub(crate) last_ready: u64,
    pub(crate) last_accepting: u64,
    pub(crate) first_run: u64,
    pub(crate) last_run: u64,
    pub(crate) cursed: u64,
    pub(crate) zerg: u8,
    pub(crate) on_demand: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) monitor: String,
    pub(crate) respawns: u32,
}

/// The statistics of a failed vassal that is started again after a backoff.
#[derive(Serialize)]
pub(crate) struct BackoffStats {
    pub(crate) id: String,
    /// The current backoff in milliseconds.
    pub(crate) throttle_level: u64,
    pub(crate) attempt: u32,
    pub(crate) first_attempt: u64,
    pub(crate) last_attempt: u64,
}
