//! The transitions of a vassal's life cycle: a pure function of its state, an event and the time.

use std::time::{Duration, Instant};

use crate::ipc::ToVassal;

use super::life_cycle::{
    Action, AfterExit, Delays, Event, Purpose, Ready, Reload, Starting, State, StopStage, Stopping,
};

/// A vassal that was ready for this long is stable: its next exit counts as its first failure.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// How long a vassal may take after [`ToVassal::StopNow`].
pub(in crate::emperor) const STOP_NOW_TIMEOUT: Duration = Duration::from_secs(2);

type Transition<P> = (State<P>, Action);

impl<P> State<P> {
    fn scheduled(now: Instant, purpose: Purpose) -> Self {
        Self::Scheduled {
            at: now,
            failures: 0,
            purpose,
        }
    }

    fn failed(failures: u32, purpose: Purpose, now: Instant, delays: &Delays) -> Self {
        Self::Scheduled {
            at: now + delays.backoff(failures),
            failures,
            purpose,
        }
    }

    /// The next state, and what to do.
    pub(in crate::emperor) fn step(
        self,
        event: Event<P>,
        now: Instant,
        delays: &Delays,
    ) -> Transition<P> {
        match self {
            Self::Starting(starting) => starting.step(event, now, delays),
            Self::Ready(ready) => ready.step(event, now, delays),
            Self::Stopping(stopping) => stopping.step(event, now),
            idle => idle.step_without_process(event, now, delays),
        }
    }

    fn step_without_process(self, event: Event<P>, now: Instant, delays: &Delays) -> Transition<P> {
        let next = match (self, event) {
            (
                Self::Scheduled {
                    at,
                    failures,
                    purpose,
                },
                event,
            ) => return step_scheduled((at, failures, purpose), event, now, delays),
            (
                Self::Refused | Self::OnDemand,
                Event::FileChanged | Event::Reload | Event::Replace,
            )
            | (Self::Gone, Event::FileChanged) => Self::scheduled(now, Purpose::HandOver),
            (Self::OnDemand, Event::Connection)
            | (Self::Refused | Self::OnDemand | Self::Stopped | Self::Gone, Event::Start) => {
                Self::scheduled(now, Purpose::Serve)
            }
            (Self::Refused | Self::OnDemand | Self::Stopped, Event::Remove) => Self::Gone,
            (Self::Refused | Self::OnDemand, Event::Stop) => Self::Stopped,
            (state, _) => state,
        };
        (next, Action::Nothing)
    }
}

fn step_scheduled<P>(
    (at, failures, purpose): (Instant, u32, Purpose),
    event: Event<P>,
    now: Instant,
    delays: &Delays,
) -> Transition<P> {
    let unchanged = State::Scheduled {
        at,
        failures,
        purpose,
    };
    let next = match event {
        Event::Tick { may_start: true } if at <= now => {
            return (unchanged, Action::Spawn(purpose));
        }
        Event::Spawned(process) => State::Starting(Starting {
            process,
            since: now,
            failures,
            purpose,
            changed: false,
        }),
        Event::SpawnFailed => State::failed(failures.saturating_add(1), purpose, now, delays),
        Event::Refused => State::Refused,
        Event::FileChanged | Event::Reload => State::scheduled(now, purpose),
        Event::Replace => State::scheduled(now, Purpose::HandOver),
        Event::Start => State::scheduled(now, Purpose::Serve),
        Event::Remove => State::Gone,
        Event::Stop => State::Stopped,
        _ => unchanged,
    };
    (next, Action::Nothing)
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
            Event::HandedOver if self.changed => State::scheduled(now, Purpose::HandOver),
            Event::HandedOver => State::OnDemand,
            Event::FileChanged | Event::Reload => {
                self.changed = true;
                State::Starting(self)
            }
            Event::Exited | Event::ExitedIdle if self.changed => {
                State::scheduled(now, self.purpose)
            }
            Event::Exited | Event::ExitedIdle => {
                State::failed(self.failures.saturating_add(1), self.purpose, now, delays)
            }
            Event::Remove => return stop(self.process, AfterExit::Forget, now, delays),
            Event::Stop => return stop(self.process, AfterExit::StayStopped, now, delays),
            Event::Replace => return stop(self.process, AfterExit::Restart, now, delays),
            _ => State::Starting(self),
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
            (Event::Exited, _) => self.restart_after_backoff(now, delays),
            (Event::ExitedIdle, Reload::None) => State::OnDemand,
            (Event::ExitedIdle, _) => State::scheduled(now, Purpose::HandOver),
            (Event::Remove, _) => return stop(self.process, AfterExit::Forget, now, delays),
            (Event::Stop, _) => return stop(self.process, AfterExit::StayStopped, now, delays),
            (Event::Replace, _) => return stop(self.process, AfterExit::Restart, now, delays),
            _ => State::Ready(self),
        };
        (next, Action::Nothing)
    }

    fn with(mut self, reload: Reload) -> State<P> {
        self.reload = reload;
        State::Ready(self)
    }

    fn restart_after_backoff(self, now: Instant, delays: &Delays) -> State<P> {
        let was_stable = now.saturating_duration_since(self.since) >= STABLE_AFTER;
        let failures = match was_stable {
            true => 0,
            false => self.failures.saturating_add(1),
        };
        State::failed(failures, self.purpose, now, delays)
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

impl<P> Stopping<P> {
    fn step(mut self, event: Event<P>, now: Instant) -> Transition<P> {
        let is_due = self.deadline <= now;
        match (event, self.then) {
            (Event::Exited | Event::ExitedIdle, then) => {
                let next = match then {
                    AfterExit::Forget => State::Gone,
                    AfterExit::StayStopped => State::Stopped,
                    AfterExit::Restart => State::scheduled(now, Purpose::HandOver),
                };
                return (next, Action::Nothing);
            }
            (Event::Remove, _) => self.then = AfterExit::Forget,
            (Event::Stop, AfterExit::Restart) => self.then = AfterExit::StayStopped,
            (Event::Start, _) | (Event::FileChanged, AfterExit::Forget) => {
                self.then = AfterExit::Restart;
            }
            (Event::StopNow, _) if self.stage == StopStage::Graceful => return self.stop_now(now),
            (Event::Tick { .. }, _) if is_due => return self.escalate(now),
            _ => {}
        }
        (State::Stopping(self), Action::Nothing)
    }

    /// The deadline of this stage has passed.
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
