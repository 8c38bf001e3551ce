//! The master: it owns the listening sockets, and judges and replaces what serves on them. It knows no Python.
//!
//! `start.rs` makes the process what it has to be, in order; then `run.rs` loops. Decisions are pure functions
//! (`slot.rs`, `generation.rs`, `signals.rs`); a generation's processes are a `generation.rs`; what outlives generations
//! is the `instance.rs`.

mod backoff;
mod deadline;
mod death_report;
pub(crate) mod emperor_link;
mod fifo;
mod generation;
mod group;
mod hooks;
mod idle;
mod instance;
mod interpreter;
mod limits;
mod module;
mod on_demand_sockets;
mod plan;
mod reload_watch;
mod report;
mod role;
mod run;
mod scale;
mod services;
mod signals;
mod slot;
mod start;
mod zygote;
mod zygote_state;

use crate::config::{self, Config};
use crate::{exit, log};

/// Runs an instance in this process until it stops; returns the exit status.
///
/// `config` is what `invocation` was read as; a reload reads it again.
pub(crate) fn run(
    config: Config,
    invocation: config::Invocation,
    emperor: emperor_link::EmperorLink,
) -> i32 {
    log::start("master");
    let (instance, signals, first) = match start::start(config, invocation, emperor) {
        Ok(Some(started)) => started,
        Ok(None) => return exit::OK,
        Err(error) => {
            if let Some(hooks::ExitRequested(status)) = error.downcast_ref() {
                tracing::info!("{error:#}");
                return *status;
            }
            tracing::error!("cannot start: {error:#}");
            return exit::FAILED;
        }
    };
    let mut master = run::Master::new(instance, signals, &first);
    let status = master.run(first).unwrap_or_else(|error| {
        tracing::error!("the master cannot go on: {error}");
        exit::FAILED
    });
    master.leave_the_place(status);
    status
}
