//! What vassals are asked, by the emperor or by users by way of it, and what they answer.

use std::os::fd::AsFd;
use std::path::Path;

use crate::control::messages::{Answer, Request};
use crate::emperor::vassal::State;
use crate::ipc::{self, Question, ToVassal};
use crate::sys::process::Pid;

use super::{Realm, Vassal};

/// Answers that are waited for: as many as may ask at once.
const MOST_QUESTIONS: usize = 32;

impl Realm {
    /// Asks those that serve, and are meant, how they are.
    pub(in crate::emperor) fn ask(&mut self, is_meant: impl Fn(&Vassal) -> bool) {
        for vassal in self.vassals.values_mut() {
            let serves = matches!(vassal.state, State::Ready { .. });
            if serves && !vassal.asked && is_meant(vassal) {
                vassal.asked = vassal.tell(ToVassal::Report);
            }
        }
    }

    /// Whether all have answered.
    pub(in crate::emperor) fn has_answered(&self) -> bool {
        !self.vassals.values().any(|vassal| vassal.asked)
    }

    /// Passes on what a user asks of a vassal; gives the ticket of the answer, unless the vassal cannot be told.
    pub(in crate::emperor) fn pass_on(
        &mut self,
        path: &Path,
        uid: u32,
        request: Request,
    ) -> Option<u32> {
        self.tickets = self.tickets.wrapping_add(1);
        let ticket = self.tickets;
        let question = Question {
            ticket,
            uid,
            request,
        };
        let vassal = self.vassals.get_mut(path)?;
        let channel = vassal.channel.as_ref()?;
        ipc::send(channel.as_fd(), &question, &[]).ok()?;
        if vassal.tickets.len() >= MOST_QUESTIONS {
            vassal.tickets.pop_front();
        }
        vassal.tickets.push_back(ticket);
        Some(ticket)
    }

    /// A vassal's answer to what was passed on.
    pub(in crate::emperor) fn take_answer(&mut self, path: &Path, ticket: u32) -> Option<Answer> {
        let answers = &mut self.vassals.get_mut(path)?.answers;
        let index = answers.iter().position(|(known, _)| *known == ticket)?;
        answers.remove(index).map(|(_, answer)| answer)
    }
}

impl Vassal {
    /// Whether it is meant by a request: by its process's id, its name, that without the extension, or its path.
    pub(in crate::emperor) fn is_meant(&self, request: &Request) -> bool {
        let pid = self.state.pid().map(Pid::get);
        match (&request.name, request.pid) {
            (Some(name), _) => self.is_called(name),
            (None, asked) => asked.is_some() && asked == pid,
        }
    }
}
