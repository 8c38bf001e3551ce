//! What vassals say, and how they end.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::emperor::vassal::{Event, State};
use crate::ipc::{self, FromVassal, Kept, LoadFailure};
use crate::sys::process::{Exit, Pid};
use crate::sys::{deferred_close, poll};

use super::rate_limit::WORDS;
use super::untrusted_input::{self, Word};
use super::{Keep, Realm, Rule, Vassal};

/// Answers that are kept for those who asked; they take them at once.
const MOST_ANSWERS: usize = 4;

/// What is heard of one that has ended: whoever it has left the channel to may go on for ever.
const LAST_WORDS: usize = 64;

impl Realm {
    /// Reads what the vassal says; call when its channel is readable.
    pub(in crate::emperor) fn hear(&mut self, path: &Path, now: Instant) {
        if let Some(vassal) = self.vassals.get_mut(path) {
            vassal.hear(now, &self.rule);
        }
    }

    /// A child of the emperor has ended.
    pub(in crate::emperor) fn ended(&mut self, pid: Pid, exit: Exit, now: Instant) {
        if let Some(name) = self.hooks.remove(&pid) {
            if exit != Exit::Status(0) {
                tracing::warn!("vassal {name}: the stop hook (pid {pid}) {exit}");
            }
            return;
        }
        // one that is nobody's belonged to a vassal that is gone
        let mut all = self.vassals.values_mut();
        let Some(vassal) = all.find(|vassal| vassal.state.pid() == Some(pid)) else {
            if let Some(groups) = &self.rule.groups {
                groups.sweep();
            }
            return;
        };
        vassal.ended(pid, exit, now, &self.rule);
        match self.rule.recipe.run_stop_hook(&vassal.found) {
            Ok(None) => {}
            Ok(Some(hook)) => {
                self.hooks.insert(hook, vassal.found.name.clone());
            }
            Err(error) => {
                let name = &vassal.found.name;
                tracing::error!("vassal {name}: the stop hook cannot be run: {error}");
            }
        }
    }
}

impl Vassal {
    fn hear(&mut self, now: Instant, rule: &Rule) {
        let Some(channel) = &self.channel else { return };
        self.words.note(WORDS, now);
        match untrusted_input::receive(channel.as_fd()) {
            Word::Said(FromVassal::Sockets { kept, waits }, fds) => {
                self.is_given(kept, fds, waits, now, rule);
            }
            Word::Said(message, fds) if fds.is_empty() => self.heard(message, now, rule),
            Word::Said(_, fds) => {
                deferred_close::close(fds);
                self.distrust("has handed over descriptors that nobody wants");
            }
            Word::Nothing => {}
            // it has gone or is about to: its exit tells the rest
            Word::End => self.hang_up(),
        }
    }

    /// It hands its sockets over.
    fn is_given(
        &mut self,
        kept: Vec<Kept>,
        fds: Vec<OwnedFd>,
        waits: bool,
        now: Instant,
        rule: &Rule,
    ) {
        match Keep::of(kept, fds) {
            Ok(keep) if matches!(self.state, State::Starting { .. } | State::Ready { .. }) => {
                self.keep = keep;
            }
            // too late
            Ok(_) => return,
            Err(fds) => {
                deferred_close::close(fds);
                return self.distrust("has handed over what is no listening socket");
            }
        }
        if waits && matches!(self.state, State::Starting { .. }) {
            let (name, at) = (&self.found.name, self.keep.names());
            tracing::info!(
                "vassal {name}: on demand: it is started when somebody connects to {at}"
            );
            self.trouble = None;
            self.step(Event::Waits, now, rule);
        }
    }

    fn heard(&mut self, message: FromVassal, now: Instant, rule: &Rule) {
        let name = &self.found.name;
        match message {
            FromVassal::Ready => {
                if let State::Starting { pid, since, .. } = self.state {
                    let took = now.duration_since(since).as_secs_f64();
                    tracing::info!("vassal {name} (pid {pid}): ready after {took:.2} s");
                }
                self.trouble = None;
                self.history.last_ready = Some(now);
                self.traceback = None;
                self.step(Event::Ready, now, rule);
            }
            FromVassal::Reloaded => {
                tracing::info!("vassal {name}: reloaded");
                // its file may want none any more
                self.pulse.forget();
                self.trouble = None;
                self.traceback = None;
                self.step(Event::Reloaded, now, rule);
            }
            FromVassal::ReloadFailed(failure) => {
                let reason = failure.sentence;
                tracing::error!(
                    "vassal {name}: its reload is given up, and it serves as before: {reason}"
                );
                self.trouble = Some(format!("serves as before its last change: {reason}"));
                self.traceback = Some(failure.traceback).filter(|text| !text.is_empty());
                self.step(Event::Reloaded, now, rule);
            }
            FromVassal::Failed {
                reason: sentence,
                traceback,
                told,
            } => {
                self.last_words = Some(LoadFailure {
                    sentence,
                    traceback,
                });
                self.told = told;
            }
            FromVassal::Idle => {
                self.rests = true;
                let words = "left, because nobody asked for it (die-on-idle)";
                self.last_words = Some(words.to_owned().into());
            }
            // heard already, because of its descriptors
            FromVassal::Sockets { .. } => {}
            FromVassal::Beat { every_ms } => {
                self.beats(Duration::from_millis(every_ms), now, rule);
            }
            FromVassal::Limits(asked) => self.limit_group(asked, rule),
            FromVassal::Report(report) => {
                self.report = report;
                self.asked = false;
            }
            FromVassal::Answer { ticket, answer } => {
                let Some(index) = self.tickets.iter().position(|known| *known == ticket) else {
                    return;
                };
                self.tickets.remove(index);
                // whoever asked may have left
                if self.answers.len() >= MOST_ANSWERS {
                    self.answers.pop_front();
                }
                self.answers.push_back((ticket, answer));
            }
        }
    }

    fn ended(&mut self, pid: Pid, exit: Exit, now: Instant, rule: &Rule) {
        for _ in 0..LAST_WORDS {
            let channel = self.channel.as_ref();
            if !channel.is_some_and(|channel| poll::readable(channel.as_fd())) {
                break;
            }
            self.hear(now, rule);
        }
        self.hang_up();
        self.tickets.clear();
        self.answers.clear();
        self.report = ipc::Report::default();
        let before = self.state;
        if let State::Leaving { .. } = before {
            // one that was killed has not removed them
            self.release();
        }
        let want = self.want_of_memory(exit);
        let rests = self.rests && exit == Exit::Status(0) && !self.keep.is_empty();
        self.step(if rests { Event::Rested } else { Event::Exited }, now, rule);
        self.leave_group();
        let name = &self.found.name;
        if let State::Leaving { .. } = before {
            tracing::info!("vassal {name} (pid {pid}): stopped");
            self.trouble = None;
            self.traceback = None;
            return;
        }
        if rests {
            tracing::info!("vassal {name} (pid {pid}): nobody asked for anything: on demand again");
            self.trouble = None;
            self.traceback = None;
            return;
        }
        let LoadFailure {
            sentence: reason,
            traceback,
        } = match (self.last_words.take(), before) {
            (Some(words), _) => words,
            (None, State::Starting { .. }) => format!("{exit} before it was ready{want}").into(),
            (None, _) => format!("{exit} without being asked to{want}").into(),
        };
        let said = match self.told {
            true => "failed, as it has told",
            false => reason.as_str(),
        };
        tracing::error!("vassal {name} (pid {pid}): {said}{}", self.next_try(now));
        self.trouble = Some(reason);
        self.traceback = Some(traceback).filter(|text| !text.is_empty());
    }
}
