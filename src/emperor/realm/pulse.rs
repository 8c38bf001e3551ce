//! Vassals whose master is frozen: they are killed, and so started again.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::emperor::realm::{Rule, Vassal};
use crate::emperor::vassal::State;
use crate::sys::{poll, process};

impl Vassal {
    /// Whether its beats matter: it is not to stop anyway.
    fn is_to_live(&self) -> bool {
        matches!(self.state, State::Starting { .. } | State::Ready { .. })
    }

    /// When its next beat is overdue.
    pub(super) fn beat_deadline(&self) -> Option<Instant> {
        self.pulse.deadline().filter(|_| self.is_to_live())
    }

    /// Its master says that it is alive, as it does every `every`.
    pub(super) fn beats(&mut self, every: Duration, now: Instant, rule: &Rule) {
        self.history.last_beat = Some(now);
        self.pulse.beat(every, rule.required_heartbeat, now);
    }

    /// Kills a master that has been silent for too long; its end tells why.
    pub(super) fn feel_pulse(&mut self, now: Instant) {
        let Some(silence) = self.pulse.lost(now).filter(|_| self.is_to_live()) else {
            return;
        };
        // it is we who have not listened
        let channel = self.channel.as_ref();
        if channel.is_some_and(|channel| poll::readable(channel.as_fd())) {
            return;
        }
        self.pulse.forget();
        if let Some(pid) = self.state.pid() {
            let silence = silence.as_secs();
            let words = format!(
                "killed, because its master has sent no heartbeat for {silence} s (emperor-required-heartbeat)"
            );
            self.last_words = Some(words.into());
            self.told = false;
            if let Err(error) = process::kill_hard(pid) {
                let name = &self.found.name;
                tracing::error!("vassal {name} (pid {pid}): cannot be killed: {error}");
            }
        }
    }
}
