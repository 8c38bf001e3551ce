//! The transitions of a vassal's life cycle: a pure function of its state, an event and the time.

use std::time::{Duration, Instant};

use crate::emperor::backoff;
use crate::ipc::ToVassal;

use super::life_cycle::{
    Action, AfterExit, Delays, Event, Purpose, Ready, Reload, Scheduled, Starting, State,
    StopStage, Stopping,
};

/// Time limit for the exit of a vassal after [`ToVassal::StopNow`].
pub(in crate::emperor) const STOP_NOW_TIMEOUT: Duration = Duration::from_secs(2);

type Transition<P> = (State<P>, Action);

impl<P> State<P> {
    fn scheduled(now: Instant, purpose: Purpose) -> Self {
        Self::Scheduled(Scheduled {
            at: now,
            failures: 0,
            purpose,
        })
    }

    /// The state of a vassal that waits for the backoff after `failures` consecutive failures.
    fn scheduled_after(failures: u32, purpose: Purpose, now: Instant, delays: &Delays) -> Self {
        Self::Scheduled(Scheduled {
            at: now + delays.backoff.delay(failures),
            failures,
            purpose,
        })
    }

    /// The next state, and the action of the emperor.
    pub(in crate::emperor) fn step(
        self,
        event: Event<P>,
        now: Instant,
        delays: &Delays,
    ) -> Transition<P> {
        match self {
            Self::Scheduled(scheduled) => scheduled.step(event, now, delays),
            Self::Starting(starting) => starting.step(event, now, delays),
            Self::Ready(ready) => ready.step(event, now, delays),
            Self::Stopping(stopping) => stopping.step(event, now),
            idle => (idle.step_idle(event, now), Action::Nothing),
        }
    }

    fn step_idle(self, event: Event<P>, now: Instant) -> Self {
        match (self, event) {
            (
                Self::Refused | Self::OnDemand,
                Event::FileChanged | Event::Reload | Event::Replace,
            )
            | (Self::Gone, Event::FileChanged) => Self::scheduled(now, Purpose::HandOverIfOnDemand),
            (Self::OnDemand, Event::Connection) => Self::scheduled(now, Purpose::Serve),
            (Self::Refused | Self::OnDemand | Self::Stopped | Self::Gone, Event::Start) => {
                Self::scheduled(now, Purpose::Start)
            }
            (
                Self::Refused | Self::OnDemand | Self::Stopped,
                Event::Remove | Event::EmperorStops,
            ) => Self::Gone,
            (Self::Refused | Self::OnDemand, Event::Stop) => Self::Stopped,
            (state, _) => state,
        }
    }
}

impl Scheduled {
    fn step<P>(self, event: Event<P>, now: Instant, delays: &Delays) -> Transition<P> {
        let purpose = self.purpose;
        let next = match event {
            Event::Tick { may_start: true } if self.at <= now => {
                return (State::Scheduled(self), Action::Spawn(purpose));
            }
            Event::Spawned(process) => State::Starting(Starting {
                process,
                since: now,
                failures: self.failures,
                purpose,
                changed: false,
            }),
            Event::SpawnFailed => {
                State::scheduled_after(self.failures.saturating_add(1), purpose, now, delays)
            }
            Event::Refused => State::Refused,
            Event::FileChanged | Event::Reload => State::scheduled(now, purpose),
            Event::Replace => State::scheduled(now, Purpose::HandOverIfOnDemand),
            Event::Start => State::scheduled(now, Purpose::Start),
            Event::Remove | Event::EmperorStops => State::Gone,
            Event::Stop => State::Stopped,
            _ => State::Scheduled(self),
        };
        (next, Action::Nothing)
    }
}

impl<P> Starting<P> {
    fn step(mut self, event: Event<P>, now: Instant, delays: &Delays) -> Transition<P> {
        let next = match event {
            Event::Ready => State::Ready(Ready {
                process: self.process,
                since: now,
                failures: self.failures,
                purpose: self.purpose,
                // the process may have read the file before the change
                reload: match self.changed {
                    true => Reload::Queued,
                    false => Reload::None,
                },
            }),
            Event::HandedOver => match (self.purpose, self.changed) {
                (Purpose::Start, true) => State::scheduled(now, Purpose::Start),
                (_, true) => State::scheduled(now, Purpose::HandOverIfOnDemand),
                (Purpose::Start, false) => State::scheduled(now, Purpose::Serve),
                (_, false) => State::OnDemand,
            },
            Event::Start => {
                self.purpose = Purpose::Start;
                State::Starting(self)
            }
            Event::FileChanged | Event::Reload => {
                self.changed = true;
                State::Starting(self)
            }
            Event::Exited | Event::ExitedIdle if self.changed => {
                State::scheduled(now, self.purpose)
            }
            Event::Exited | Event::ExitedIdle => {
                State::scheduled_after(self.failures.saturating_add(1), self.purpose, now, delays)
            }
            event => {
                return match after_exit(&event) {
                    Some(then) => stop(self.process, then, now, delays),
                    None => (State::Starting(self), Action::Nothing),
                };
            }
        };
        (next, Action::Nothing)
    }
}

impl<P> Ready<P> {
    fn step(self, event: Event<P>, now: Instant, delays: &Delays) -> Transition<P> {
        let next = match (event, self.reload) {
            (Event::Tick { may_start: true }, Reload::Queued) => {
                let running = Reload::Running {
                    since: now,
                    again: false,
                };
                let order = Action::Send(ToVassal::Reload);
                return (self.with(running), order);
            }
            (Event::FileChanged | Event::Reload, Reload::Running { since, .. }) => {
                self.with(Reload::Running { since, again: true })
            }
            (Event::FileChanged | Event::Reload, _)
            | (Event::ReloadEnded, Reload::Running { again: true, .. }) => {
                self.with(Reload::Queued)
            }
            (Event::ReloadEnded, _) => self.with(Reload::None),
            // the file has changed since the process read it
            (Event::Exited, Reload::Queued | Reload::Running { again: true, .. }) => {
                State::scheduled(now, self.purpose)
            }
            (Event::Exited, _) => self.restart_after_backoff(now, delays),
            (Event::ExitedIdle, Reload::None) => State::OnDemand,
            (Event::ExitedIdle, _) => State::scheduled(now, Purpose::HandOverIfOnDemand),
            (event, _) => {
                return match after_exit(&event) {
                    Some(then) => stop(self.process, then, now, delays),
                    None => (State::Ready(self), Action::Nothing),
                };
            }
        };
        (next, Action::Nothing)
    }

    fn with(mut self, reload: Reload) -> State<P> {
        self.reload = reload;
        State::Ready(self)
    }

    fn restart_after_backoff(self, now: Instant, delays: &Delays) -> State<P> {
        let failures = backoff::failures_after_exit(self.failures, self.since, now);
        State::scheduled_after(failures, self.purpose, now, delays)
    }
}

/// Returns what follows after the exit of a running process that `event` stops; `None` if `event` does not stop the
/// process.
fn after_exit<P>(event: &Event<P>) -> Option<AfterExit> {
    match event {
        Event::Remove => Some(AfterExit::Forget),
        Event::EmperorStops => Some(AfterExit::EmperorStops),
        Event::Stop => Some(AfterExit::StayStopped),
        Event::Replace => Some(AfterExit::Restart(Purpose::HandOverIfOnDemand)),
        _ => None,
    }
}

fn stop<P>(process: P, then: AfterExit, now: Instant, delays: &Delays) -> Transition<P> {
    let stopping = Stopping {
        process,
        deadline: now + delays.mercy,
        stage: StopStage::Graceful,
        then,
    };
    (State::Stopping(stopping), Action::Send(ToVassal::Stop))
}

impl AfterExit {
    /// Returns what follows after the exit of the process, if `event` occurs during the stop.
    fn changed_by<P>(self, event: &Event<P>) -> Self {
        match (self, event) {
            (Self::EmperorStops, _) | (_, Event::EmperorStops) => Self::EmperorStops,
            (_, Event::Remove) => Self::Forget,
            (_, Event::Start) => Self::Restart(Purpose::Start),
            (Self::Restart(_), Event::Stop) => Self::StayStopped,
            (Self::Forget, Event::FileChanged) => Self::Restart(Purpose::HandOverIfOnDemand),
            (then, _) => then,
        }
    }

    fn state<P>(self, now: Instant) -> State<P> {
        match self {
            Self::Forget | Self::EmperorStops => State::Gone,
            Self::StayStopped => State::Stopped,
            Self::Restart(purpose) => State::scheduled(now, purpose),
        }
    }
}

impl<P> Stopping<P> {
    fn step(mut self, event: Event<P>, now: Instant) -> Transition<P> {
        match event {
            Event::Exited | Event::ExitedIdle => (self.then.state(now), Action::Nothing),
            Event::StopNow if self.stage == StopStage::Graceful => self.stop_now(now),
            Event::Tick { .. } if self.deadline <= now => self.escalate(now),
            event => {
                self.then = self.then.changed_by(&event);
                (State::Stopping(self), Action::Nothing)
            }
        }
    }

    /// Takes the next step of the stop, because the deadline of the present stage has passed.
    fn escalate(mut self, now: Instant) -> Transition<P> {
        match self.stage {
            StopStage::Graceful => self.stop_now(now),
            StopStage::Immediate => {
                self.stage = StopStage::Killed;
                (State::Stopping(self), Action::Kill)
            }
            StopStage::Killed => (State::Stopping(self), Action::Nothing),
        }
    }

    fn stop_now(mut self, now: Instant) -> Transition<P> {
        self.stage = StopStage::Immediate;
        self.deadline = now + STOP_NOW_TIMEOUT;
        (State::Stopping(self), Action::Send(ToVassal::StopNow))
    }
}

#[cfg(test)]
mod tests;
