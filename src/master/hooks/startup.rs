//! Runs the hooks of the start. The master's loop does not run yet, so each phase blocks until its hooks have ended.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::config::Config;
use crate::master::shell::command::CommandContext;
use crate::master::shell::output::Outputs;
use crate::master::signals::{self, SignalAction};
use crate::sys::poll;
use crate::sys::process;
use crate::sys::signal::Signals;

use super::phase::Phase;
use super::runner::{Progress, Runner};

/// Interval between two checks for exited children, while the master does not read SIGCHLD yet.
const REAP_INTERVAL: Duration = Duration::from_millis(10);

/// The error of a hook that requested the exit of the instance with this status.
#[derive(thiserror::Error, Clone, Copy, Debug, PartialEq, Eq)]
#[error("a hook requested exit status {0}")]
pub(in crate::master) struct ExitRequested(pub(in crate::master) i32);

/// Runs the hooks of a phase in the master's current directory and waits for their end. `signals` is `None` before the
/// master blocks signals; signals then have their default effect.
///
/// # Errors
/// If a hook fails, a hook requests exit ([`ExitRequested`]), a stop signal arrives, or poll(2) or waitpid(2) fails.
pub(in crate::master) fn run_phase(
    phase: Phase,
    config: &Config,
    mut signals: Option<&mut Signals>,
) -> Result<()> {
    let mut runner = Runner::default();
    let mut outputs = Outputs::default();
    runner.add(phase.hooks(config));
    loop {
        // an earlier hook may have changed the directory or the environment
        let context = CommandContext::of_config(config);
        match runner.advance(&context, &mut outputs, Instant::now()) {
            Progress::Running => {}
            Progress::Done => return Ok(()),
            Progress::Failed(message) => return Err(anyhow!(message)),
            Progress::Exit(status) => return Err(ExitRequested(status).into()),
        }
        wait(&runner, &mut outputs, signals.as_deref())?;
        if let Some(signals) = &mut signals
            && let Err(error) = check_signals(signals, config)
        {
            runner.kill();
            return Err(error);
        }
        while let Some(end) = process::reap()? {
            // another child is an orphan of a hook and is ignored
            runner.child_exited(end, &mut outputs, Instant::now());
        }
    }
}

/// Waits for output of a hook, a signal or the runner's deadline. Copies the output to the log.
fn wait(runner: &Runner, outputs: &mut Outputs, signals: Option<&Signals>) -> Result<()> {
    let now = Instant::now();
    let reap = signals.is_none().then(|| now + REAP_INTERVAL);
    let deadline = runner.deadline().into_iter().chain(reap).min();
    let mut fds: Vec<_> = outputs.descriptors().collect();
    fds.extend(signals.map(AsFd::as_fd));
    let timeout = deadline.map(|deadline| deadline.saturating_duration_since(now));
    let ready = poll::wait(&fds, timeout)?;
    outputs.read(&ready);
    Ok(())
}

/// # Errors
/// If a stop signal has arrived, or the signals cannot be read.
fn check_signals(signals: &mut Signals, config: &Config) -> Result<()> {
    while let Some(signal) = signals.take()? {
        if signals::action(signal, config.die_on_term() != Some(false)) == Some(SignalAction::Stop)
        {
            return Err(anyhow!("received {signal} during start-up"));
        }
    }
    Ok(())
}
