//! The facts about a request that templates and conditions refer to.

use crate::log::Pattern;

/// The variables of a request.
pub trait Variables {
    /// The value of a variable; `None` if it is absent.
    fn value(&self, name: &[u8]) -> Option<&[u8]>;
}

/// What templates and conditions refer to.
pub struct Facts<'a> {
    request: &'a dyn Variables,
    /// Variables that the rules have set; the last of a name counts.
    set: Vec<(Vec<u8>, Vec<u8>)>,
    groups: Vec<Vec<u8>>,
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
            now,
            worker_id,
            status,
        }
    }

    /// The value of a request variable; empty if it is absent.
    pub(super) fn variable(&self, name: &[u8]) -> &[u8] {
        let set = self.set.iter().rev().find(|(key, _)| key == name);
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
        self.set.push((name.to_vec(), value));
    }

    /// Compares a text with a regular expression, and keeps the groups of a match.
    pub(super) fn matches(&mut self, pattern: &Pattern, text: &[u8]) -> bool {
        match pattern.groups(&String::from_utf8_lossy(text)) {
            Some(groups) => {
                self.groups = groups.into_iter().map(String::into_bytes).collect();
                true
            }
            None => false,
        }
    }

    /// The variables that the rules have set, in this order.
    pub(super) fn into_set(self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.set
    }
}
