//! The emperor: it keeps one master running for each configuration file in a directory.
//!
//! `start.rs` prepares the process, and `run.rs` is its event loop. `source.rs` and `stamp.rs` find the files that
//! define vassals, and `watch.rs` notices changes of the files. `vassals.rs` holds the vassals. The pure function in
//! `vassal/transitions.rs` decides what follows from an event, `backoff.rs` computes the delay after a failure, and
//! `vassal.rs` carries out the decision. For each vassal, the emperor executes a master. Vassals on demand bind their
//! sockets themselves, and the emperor keeps the sockets (`kept_sockets.rs`). The emperor reads no configuration but
//! its own.

mod backoff;
mod cgroups;
mod cleanup;
mod control;
mod file_rules;
mod kept_sockets;
pub(crate) mod listing;
mod policy;
mod run;
mod self_status;
mod skipped;
mod source;
mod spawn;
mod stamp;
mod start;
mod statistics;
mod vassal;
mod vassal_capabilities;
mod vassal_exit;
mod vassal_messages;
mod vassal_status;
mod vassals;
mod watch;

use crate::config::{Config, Invocation};
use crate::{exit, log};

/// Runs the emperor of this configuration until it is stopped; returns the exit status.
pub(crate) fn run(config: &Config, invocation: &Invocation) -> i32 {
    log::start("emperor");
    if config.log_json() {
        log::use_json();
    }
    let mut cleanup = cleanup::Cleanup::default();
    let (status, reason) = match start::start(config, invocation, &mut cleanup) {
        Ok(mut emperor) => {
            cleanup.started();
            match emperor.run() {
                Ok(status) => (status, String::new()),
                Err(error) => (exit::FAILED, format!("the emperor cannot go on: {error}")),
            }
        }
        Err(error) => (exit::FAILED, format!("cannot start: {error:#}")),
    };
    if !reason.is_empty() {
        tracing::error!("{reason}");
    }
    cleanup.run(status, &reason);
    if status == exit::OK {
        tracing::info!("the emperor has stopped, and all its vassals with it");
    }
    log::thread::finish();
    status
}
