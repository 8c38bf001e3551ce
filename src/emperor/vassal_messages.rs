//! Handles the messages of vassals.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::ipc::control::Answer;
use crate::ipc::{FromVassal, HandedOverSocket, Limited, LoadFailure};
use crate::sys::cgroup::Limits;
use crate::sys::deferred_close;

use super::kept_sockets::KeptSockets;
use super::policy::Policy;
use super::vassal::{Event, ExitReason, MESSAGES, Received, State, Vassal, receive};

/// Maximum number of answers that are kept for clients. A client that is still connected takes its answer at once.
const MAX_ANSWERS: usize = 4;

impl Vassal {
    /// Receives one message from the vassal's process and handles it. Kills the process if it violates the protocol.
    pub(super) fn receive_message(&mut self, now: Instant, policy: &Policy) {
        let Some(process) = self.state.process_mut() else {
            return;
        };
        let Some(channel) = &mut process.channel else {
            return;
        };
        channel.rate.record(MESSAGES, now);
        let Some(fd) = channel.fd() else { return };
        match receive(fd) {
            Received::Message(FromVassal::Sockets { kept, waits }, fds) => {
                if self.take_sockets(kept, fds) && waits {
                    self.on_handed_over(now, policy);
                }
            }
            Received::Message(message, fds) if fds.is_empty() => {
                self.on_message(message, now, policy);
            }
            Received::Message(_, fds) => {
                deferred_close::close(fds);
                self.kill_for("it has sent descriptors with a message that takes none");
            }
            Received::Nothing => {}
            // the process exits, and the emperor handles the exit separately
            Received::Closed => process.channel = None,
        }
    }

    /// Kills a process that has violated the protocol. ruwsgi never violates it, so the process is not to be trusted.
    /// The vassal is restarted as after any failure.
    fn kill_for(&mut self, why: &str) {
        if let Some(process) = self.state.process_mut() {
            process.channel = None;
            process.kill(&self.definition.name, why);
        }
    }

    /// Takes the sockets that the process hands over; returns whether they were taken.
    fn take_sockets(&mut self, kept: Vec<HandedOverSocket>, fds: Vec<OwnedFd>) -> bool {
        let identity = self.state.process().and_then(|it| it.identity.clone());
        match KeptSockets::new(kept, fds, identity) {
            Ok(sockets) if self.state.is_running() => {
                self.sockets = sockets;
                true
            }
            // a vassal that stops does not need its sockets any more
            Ok(_) => false,
            Err(fds) => {
                deferred_close::close(fds);
                self.kill_for("it has handed over a descriptor that is no listening socket");
                false
            }
        }
    }

    fn on_handed_over(&mut self, now: Instant, policy: &Policy) {
        if matches!(self.state, State::Starting(_)) {
            tracing::info!(
                "vassal {}: on demand: the next connection to {} starts it",
                self.name(),
                self.sockets.addresses()
            );
            self.problem = None;
            self.apply(Event::HandedOver, now, policy);
        }
    }

    fn on_message(&mut self, message: FromVassal, now: Instant, policy: &Policy) {
        match message {
            FromVassal::Ready => self.on_ready(now, policy),
            FromVassal::Reloaded => self.on_reloaded(now, policy),
            FromVassal::ReloadFailed(failure) => self.on_reload_failed(failure, now, policy),
            FromVassal::Failed {
                reason: sentence,
                traceback,
                told,
            } => self.on_exit_reason(ExitReason::Failed {
                failure: LoadFailure {
                    sentence,
                    traceback,
                },
                is_logged: told,
            }),
            FromVassal::Idle => self.on_exit_reason(ExitReason::Idle),
            // the caller handles this message, because it has the descriptors
            FromVassal::Sockets { .. } => {}
            FromVassal::Beat { every_ms } => {
                self.on_heartbeat(Duration::from_millis(every_ms), now, policy);
            }
            FromVassal::Limits(limits) => self.on_limits(limits, policy),
            FromVassal::Report(report) => {
                if let Some(process) = self.state.process_mut() {
                    process.report = report;
                    if let Some(channel) = &mut process.channel {
                        channel.report_requested = false;
                    }
                }
            }
            FromVassal::Answer { ticket, answer } => self.on_answer(ticket, answer),
        }
    }

    fn on_ready(&mut self, now: Instant, policy: &Policy) {
        if let State::Starting(starting) = &self.state {
            let pid = starting.process.pid;
            let took = now.duration_since(starting.since).as_secs_f64();
            tracing::info!(
                "vassal {} (pid {pid}): ready after {took:.2} s",
                self.name()
            );
        }
        self.problem = None;
        self.history.last_ready = Some(now);
        self.apply(Event::Ready, now, policy);
    }

    fn on_reloaded(&mut self, now: Instant, policy: &Policy) {
        tracing::info!("vassal {}: reloaded", self.name());
        if let Some(process) = self.state.process_mut() {
            // the new configuration may have no heartbeat, so the timeout starts only when the next heartbeat arrives
            process.heartbeat.reset();
        }
        self.problem = None;
        self.apply(Event::ReloadEnded, now, policy);
    }

    fn on_reload_failed(&mut self, failure: LoadFailure, now: Instant, policy: &Policy) {
        let reason = failure.sentence;
        tracing::error!(
            "vassal {}: reload failed; the previous generation continues: {reason}",
            self.name()
        );
        self.problem = Some(LoadFailure {
            sentence: format!("serves as before its last change: {reason}"),
            traceback: failure.traceback,
        });
        self.apply(Event::ReloadEnded, now, policy);
    }

    fn on_exit_reason(&mut self, reason: ExitReason) {
        if let Some(process) = self.state.process_mut() {
            process.exit_reason = Some(reason);
        }
    }

    fn on_heartbeat(&mut self, interval: Duration, now: Instant, policy: &Policy) {
        self.history.last_heartbeat = Some(now);
        if let Some(process) = self.state.process_mut() {
            let required = policy.required_heartbeat;
            process.heartbeat.record(interval, required, now);
        }
    }

    /// Applies the cgroup limits of the vassal's own configuration. Sends the result, because the vassal waits for it.
    fn on_limits(&self, requested: Limits, policy: &Policy) {
        let Some(process) = self.state.process() else {
            return;
        };
        let limited = match (&policy.cgroups, &process.cgroup) {
            (Some(cgroups), Some(cgroup)) => cgroups.narrow(cgroup, requested),
            _ => Err("the emperor creates no cgroups".to_owned()),
        };
        // if a vassal fails at its start because of a refusal, it reports the failure itself
        if let (Err(sentence), State::Ready(_)) = (&limited, &self.state) {
            tracing::error!("vassal {}: {sentence}", self.name());
        }
        if let Some(channel) = &process.channel {
            channel.send(&Limited {
                limits_refused: limited.err(),
            });
        }
    }

    /// Stores the vassal's answer to a forwarded request until the client takes it.
    fn on_answer(&mut self, ticket: u32, answer: Answer) {
        let Some(process) = self.state.process_mut() else {
            return;
        };
        let Some(channel) = &mut process.channel else {
            return;
        };
        let Some(index) = channel.tickets.iter().position(|known| *known == ticket) else {
            return;
        };
        channel.tickets.remove(index);
        // drops the oldest answer, whose client may have disconnected
        if process.answers.len() >= MAX_ANSWERS {
            process.answers.pop_front();
        }
        process.answers.push_back((ticket, answer));
    }
}
