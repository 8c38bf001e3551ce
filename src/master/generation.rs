//! The processes of one generation: its zygote and its workers.
//!
//! The decisions are pure functions (`zygote_state.rs`, `slot.rs`, `harakiri.rs`, `worker_limits.rs`, `scale.rs`). The
//! files of the folder `generation` perform the actions that these functions return.

mod app_signals;
mod import;
mod messages;
mod mule_processes;
mod mules;
mod overdue_requests;
mod placement;
mod processes;
mod recycle;
mod role_changes;
mod scale;
mod slow_starts;
mod status;
mod view;

pub(super) use processes::Generation;
