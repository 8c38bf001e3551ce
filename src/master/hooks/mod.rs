//! Hooks: actions that run at fixed moments in the life of an instance and of its workers.

mod runner;
mod startup;
mod worker;

pub(super) use runner::{Job, Outcome, Phase, Runner};
pub(super) use startup::{ExitRequested, run_phase};
pub(super) use worker::{Workers, sights};
