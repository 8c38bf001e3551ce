//! What is asked about a vassal.

use std::path::Path;
use std::time::Instant;

use crate::emperor::vassal::{Reload, State};

use super::Vassal;

impl Vassal {
    /// The owner of its file.
    pub(in crate::emperor) fn owner(&self) -> Option<u32> {
        self.owners().map(|(user, _)| user)
    }

    /// The owner of its file, user and group.
    pub(in crate::emperor) fn owners(&self) -> Option<(u32, u32)> {
        self.stamp.map(|stamp| stamp.owner)
    }

    /// When its file was changed, seconds since 1970; 0 where there is none.
    pub(in crate::emperor) fn modified(&self) -> i64 {
        self.stamp.map_or(0, |stamp| stamp.modified())
    }

    /// Where the emperor waits for it, or would.
    pub(in crate::emperor) fn kept_names(&self) -> String {
        self.keep.names()
    }

    /// Whether it is called so: its name, that without the extension, its section if it is one, or its path.
    pub(in crate::emperor) fn is_called(&self, name: &str) -> bool {
        let own = &self.found.name;
        let short = match &self.found.section {
            Some(section) => section,
            None => own.rsplit_once('.').map_or(own.as_str(), |(stem, _)| stem),
        };
        own == name || short == name || self.found.path == Path::new(name)
    }

    /// How it is, in a line of the log.
    pub(in crate::emperor) fn line(&self, now: Instant) -> String {
        let name = &self.found.name;
        let state = match self.state {
            State::Due { .. } => format!("no process{}", self.next_try(now)),
            State::Starting { pid, .. } => format!("starting (pid {pid})"),
            State::Ready { pid, .. } => format!("ready (pid {pid})"),
            State::Leaving { pid, .. } => format!("stopping (pid {pid})"),
            State::OnDemand => format!("on demand at {}", self.keep.names()),
            State::Stopped => "stopped".to_owned(),
            State::Refused => "not started".to_owned(),
            State::Gone => "gone".to_owned(),
        };
        match &self.trouble {
            Some(trouble) => format!("vassal {name}: {state}: {trouble}"),
            None => format!("vassal {name}: {state}"),
        }
    }

    /// Whether what it was told to do is over.
    pub(in crate::emperor) fn is_settled(&self) -> bool {
        match self.state {
            State::Ready { reload, .. } => reload == Reload::None,
            State::Due { failures, .. } => failures > 0,
            State::Starting { .. } | State::Leaving { .. } => false,
            State::OnDemand | State::Stopped | State::Refused | State::Gone => true,
        }
    }
}
