//! Hooks: actions that run at fixed moments in the life of an instance and of its workers.

mod action;
mod gate;
mod instance_hooks;
mod phase;
mod runner;
mod startup;
mod touch_hooks;
mod wait_for;
mod worker_hooks;

pub(super) use gate::PhaseRun;
pub(super) use instance_hooks::InstanceHooks;
pub(super) use phase::{Hook, Phase};
pub(super) use runner::{Progress, Runner};
pub(super) use startup::{ExitRequested, run_phase};
