//! The emperor: it keeps a master running for each configuration file in a directory, and says how each one is.
//!
//! `start.rs` makes the process what it has to be; then `run.rs` loops. `source.rs` knows which files are vassals,
//! `watch.rs` and `debounce.rs` when one has changed; what follows from that is decided by the pure function in
//! `vassal.rs` and done in `realm.rs`. It only ever executes masters. Of those on demand it keeps the sockets (`on_demand_sockets.rs`), which they
//! bind themselves; it knows nothing of configurations and applications.

mod control;
mod groups;
mod on_demand_sockets;
mod realm;
mod run;
mod self_status;
mod source;
mod spawn;
mod start;
mod stats;
mod vassal;
mod vassal_capabilities;
mod watch;

use crate::config::{Config, Invocation};
use crate::{exit, log};

/// Rules over the vassals that the configuration names until it is told to stop; returns the exit status.
pub(crate) fn run(config: &Config, invocation: &Invocation) -> i32 {
    log::start("emperor");
    let mut way = start::Way::default();
    let (status, sentence) = match start::start(config, invocation, &mut way) {
        Ok(mut emperor) => {
            way.started();
            match emperor.run() {
                Ok(status) => (status, String::new()),
                Err(error) => (exit::FAILED, format!("the emperor cannot go on: {error}")),
            }
        }
        Err(error) => (exit::FAILED, format!("cannot start: {error:#}")),
    };
    if !sentence.is_empty() {
        tracing::error!("{sentence}");
    }
    way.undo(status, &sentence);
    if status == exit::OK {
        tracing::info!("the emperor has left, and so have all its vassals");
    }
    status
}

/// Whether each vassal runs as the owner of its file.
fn is_tyrant(config: &Config) -> bool {
    config.emperor_tyrant() || config.emperor_tyrant_nofollow()
}
