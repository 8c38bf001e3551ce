//! Hooks of the start: before there is a loop, each moment is waited for here.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::config::Config;
use crate::master::signals::{self, SignalAction};
use crate::sys::poll;
use crate::sys::process;
use crate::sys::signal::Signals;

use super::runner::{Outcome, Phase, Runner};
use crate::master::services::child::{Outputs, Surroundings};

/// How often children are looked after where their end is not reported.
const LOOK: Duration = Duration::from_millis(10);

/// A hook asked for the end of the instance.
#[derive(thiserror::Error, Clone, Copy, Debug, PartialEq, Eq)]
#[error("a hook asked for the end, with status {0}")]
pub(in crate::master) struct ExitRequested(pub(in crate::master) i32);

/// Runs the hooks of a moment of the start, in the directory that the master is in. `signals` is `None` as long as
/// they are not blocked: then they have their usual effect.
///
/// # Errors
/// When an action fails, asks for the end ([`ExitRequested`]), or is interrupted.
pub(in crate::master) fn run_phase(
    phase: Phase,
    config: &Config,
    mut signals: Option<&mut Signals>,
) -> Result<()> {
    let mut runner = Runner::default();
    let mut outputs = Outputs::default();
    runner.add(phase.jobs(config));
    loop {
        match runner.go_on(&Surroundings::here(config), &mut outputs, Instant::now()) {
            Outcome::Busy => {}
            Outcome::Done => return Ok(()),
            Outcome::Failed(sentence) => return Err(anyhow!(sentence)),
            Outcome::Exit(status) => return Err(ExitRequested(status).into()),
        }
        let pause = signals.is_none().then(|| Instant::now() + LOOK);
        let next = runner.deadline().into_iter().chain(pause).min();
        let mut fds: Vec<_> = outputs.descriptors().collect();
        fds.extend(signals.as_ref().map(|signals| signals.as_fd()));
        let ready = poll::wait(
            &fds,
            next.map(|next| next.saturating_duration_since(Instant::now())),
        )?;
        outputs.read(&ready);
        while let Some(signal) = signals
            .as_mut()
            .map_or(Ok(None), |signals| signals.take())?
        {
            if signals::action(signal, config.die_on_term() != Some(false))
                == Some(SignalAction::Stop)
            {
                runner.kill();
                return Err(anyhow!("{signal}: stopped in the middle of the start"));
            }
        }
        while let Some(end) = process::reap()? {
            // what is not the hook's own was left behind by it
            runner.ended(end, &mut outputs, Instant::now());
        }
    }
}
