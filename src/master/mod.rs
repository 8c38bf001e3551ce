//! The master of an instance. It owns the listening sockets, and supervises the processes that serve on them. It does
//! not load Python.
//!
//! `start.rs` prepares the process, step by step; then the loop in `run/event_loop.rs` runs. Decisions are pure
//! functions (`slot.rs`, `zygote_state.rs`, `role.rs`, `harakiri.rs`, `worker_limits.rs`, `memory_limits.rs`,
//! `scale.rs`, `signals.rs`). `generation.rs` contains the processes of one generation; `instance.rs` contains the
//! state that outlives generations.

mod app_signals;
mod cgroup_limits;
mod control_socket;
mod death_report;
pub(crate) mod emperor_link;
mod extension_module;
mod fifo;
mod fork_watch;
mod generation;
mod hand_over;
mod harakiri;
mod hooks;
mod idle;
mod import_conflict;
mod instance;
mod interpreter;
mod line_collector;
mod memory_limits;
mod mules;
mod needed_sockets;
mod observer;
mod on_demand_sockets;
mod plan;
mod reload_files;
mod reload_watch;
mod reloads;
mod report;
mod resources;
mod respawn_delay;
mod role;
mod run;
mod scale;
mod script;
mod services;
mod shared_memory;
mod shell;
mod signals;
mod slot;
mod slow_start;
mod start;
mod watched_path;
mod worker_ids;
mod worker_limits;
mod worker_slot;
mod zygote;
mod zygote_state;

use crate::config::{self, Config};
use crate::sys::terminal;
use crate::{exit, log};

/// Runs an instance in this process until it stops; returns the exit status.
///
/// `config` is the configuration that was read from `invocation`. A reload reads the configuration from `invocation`
/// again.
pub(crate) fn run(
    config: Config,
    invocation: config::Invocation,
    emperor: emperor_link::EmperorLink,
) -> i32 {
    log::start("master");
    if config.log_json() {
        log::use_json();
    }
    let status = run_instance(config, invocation, emperor);
    log::thread::finish();
    status
}

/// Replaces this process by the interpreter, which runs the script of `pyrun` in the environment of the instance. Returns
/// the exit status if that fails.
pub(crate) fn run_script(config: &Config, invocation: &config::Invocation) -> i32 {
    log::start("ruwsgi");
    let error = script::exec(config, invocation);
    tracing::error!("pyrun: the script cannot be started: {error:#}");
    exit::FAILED
}

fn run_instance(
    config: Config,
    invocation: config::Invocation,
    emperor: emperor_link::EmperorLink,
) -> i32 {
    let terminal = match config.gives_stdin() {
        true => terminal::Settings::read(),
        false => None,
    };
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
        tracing::error!("the master cannot continue: {error}");
        exit::FAILED
    });
    master.release(status);
    if let Some(terminal) = terminal {
        terminal.restore();
    }
    status
}
