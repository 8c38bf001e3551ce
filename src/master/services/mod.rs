//! Services: processes that run beside the workers (daemons and cron jobs), and the hooks of the instance.
//!
//! Pure functions decide what happens (`daemon_state.rs`, `cron_schedule.rs`); the other files perform it. An instance
//! without services pays for empty lists only.

mod alarms;
mod cron_jobs;
mod cron_schedule;
mod daemon;
mod daemon_spec;
mod daemon_state;
mod daemons;
mod supervisor;

pub(super) use daemon_spec::{DaemonSpec, daemon_specs};
pub(super) use supervisor::Services;
