//! The facts about a request that templates and conditions refer to.

use std::cell::Cell;

use crate::log::{Pattern, TooManySteps};

/// The variables of a request.
pub trait Variables {
    /// The value of a variable; `None` if it is absent.
    fn value(&self, name: &[u8]) -> Option<&[u8]>;
}

/// What templates and conditions refer to.
pub struct Facts<'a> {
    request: &'a dyn Variables,
    /// Variables that the rules have set, one of each name.
    set: Vec<(Vec<u8>, Vec<u8>)>,
    groups: Vec<Vec<u8>>,
    /// Number of bytes that templates have produced.
    produced: Cell<usize>,
    /// Seconds since 1970.
    pub(super) now: u64,
    pub(super) worker_id: u32,
    /// The status of the response; 0 if there is none yet.
    pub(super) status: u16,
}

impl<'a> Facts<'a> {
    /// The facts of a request at the time `now` (seconds since 1970) in the worker `worker_id`. `status` is that of the
    /// response, or 0.
    pub fn new(request: &'a dyn Variables, now: u64, worker_id: u32, status: u16) -> Self {
        Self {
            request,
            set: Vec::new(),
            groups: Vec::new(),
            produced: Cell::new(0),
            now,
            worker_id,
            status,
        }
    }

    /// The value of a request variable; empty if it is absent.
    pub(super) fn variable(&self, name: &[u8]) -> &[u8] {
        let set = self.set.iter().find(|(key, _)| key == name);
        let value = set.map(|(_, value)| value.as_slice());
        value
            .or_else(|| self.request.value(name))
            .unwrap_or_default()
    }

    /// A group of the last regular expression that has matched; empty if there is none.
    pub(super) fn group(&self, number: u8) -> &[u8] {
        self.groups
            .get(usize::from(number))
            .map_or(&[], Vec::as_slice)
    }

    /// Sets a request variable.
    pub(super) fn set(&mut self, name: &[u8], value: Vec<u8>) {
        match self.set.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => self.set.push((name.to_vec(), value)),
        }
    }

    /// Compares a text with a regular expression, and keeps the groups of a match.
    ///
    /// # Errors
    /// The match exceeds the maximum number of steps.
    pub(super) fn matches(&mut self, pattern: &Pattern, text: &[u8]) -> Result<bool, TooManySteps> {
        let groups = match std::str::from_utf8(text) {
            Ok(text) => {
                let groups = pattern.groups(text)?;
                groups.map(|groups| groups.into_iter().map(String::into_bytes).collect())
            }
            // each byte is compared as the character with its number, so that the groups keep the bytes
            Err(_) => {
                let text: String = text.iter().map(|byte| char::from(*byte)).collect();
                let groups = pattern.groups(&text)?;
                groups.map(|groups| groups.iter().map(|group| latin1(group)).collect())
            }
        };
        let is_match = groups.is_some();
        self.groups = groups.unwrap_or_else(|| std::mem::take(&mut self.groups));
        Ok(is_match)
    }

    /// Counts the bytes that a template has produced.
    pub(super) fn count(&self, bytes: usize) {
        self.produced.set(self.produced.get().saturating_add(bytes));
    }

    /// Number of bytes that templates have produced.
    pub(super) fn produced(&self) -> usize {
        self.produced.get()
    }

    /// The variables that the rules have set, in this order.
    pub(super) fn into_set(self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.set
    }
}

/// The bytes of a text whose characters are U+0000 to U+00FF.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|it| it as u32 as u8).collect()
}
