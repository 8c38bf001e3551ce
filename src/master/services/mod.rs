//! Services: processes that run beside the workers (daemons and cron jobs), and the hooks of the instance.
//!
//! `daemon_state.rs` and `cron_schedule.rs` decide by pure functions what to do. The other files perform the decisions.
//! An instance without services costs only a few empty lists.

mod alarms;
mod cron_jobs;
pub(super) mod cron_schedule;
mod daemon;
mod daemon_spec;
mod daemon_state;
mod daemons;
mod supervisor;

pub(super) use daemon_spec::{DaemonSpec, daemon_specs};
pub(super) use supervisor::Services;
