//! What the emperor tells of itself (`ruwsgi status` without a name).

use std::time::Instant;

use crate::config::{Config, Invocation};
use crate::control::messages;
use crate::sys::process::Pid;
use crate::sys::{memory, user};

/// What is told where nothing else was set.
const ALWAYS: [&str; 4] = [
    "emperor-freq",
    "emperor-throttle",
    "emperor-max-throttle",
    "emperor-required-heartbeat",
];

/// What does not change while it rules, but for its end.
pub(super) struct About {
    since: Instant,
    sources: Vec<String>,
    /// Options for vassals, with their values.
    options: Vec<(String, String)>,
    /// It stops.
    pub(super) leaving: bool,
}

impl About {
    pub(super) fn new(config: &Config, invocation: &Invocation) -> Self {
        let effective = config.effective().into_iter();
        let set = effective.map(|(name, value, _)| (name.as_str(), value.as_str()));
        let usual = config.defaulted().into_iter();
        let usual = usual.filter(|(name, _)| ALWAYS.contains(name));
        let options = set.filter(|(name, _)| is_for_vassals(name)).chain(usual);
        let mut options: Vec<(String, String)> = options
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        options.sort();
        let sources = config.emperor().iter();
        Self {
            since: Instant::now(),
            sources: sources
                .map(|source| invocation.cwd.join(source).display().to_string())
                .collect(),
            options,
            leaving: false,
        }
    }

    /// The emperor itself, and of these vassals, each by its state and its memory. What was configured is told to
    /// those who may do `everything`: it may hold secrets.
    pub(super) fn row<'a>(
        &self,
        vassals: impl Iterator<Item = &'a messages::Row>,
        everything: bool,
        now: Instant,
    ) -> messages::Row {
        let mut emperor = messages::Emperor {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            user: user::current_name(),
            ..messages::Emperor::default()
        };
        if everything {
            emperor.sources = self.sources.clone();
            emperor.options = self.options.clone();
        }
        for vassal in vassals {
            *emperor.vassals.entry(vassal.state.clone()).or_default() += 1;
            emperor.vassals_kib += vassal.memory_kib.unwrap_or_default();
        }
        let pid = Pid::own().get();
        messages::Row {
            name: "emperor".to_owned(),
            state: if self.leaving { "stopping" } else { "ready" }.to_owned(),
            pid: Some(pid),
            uptime: Some(now.saturating_duration_since(self.since).as_secs()),
            memory_kib: memory::proportional_kib(pid),
            emperor: Some(emperor),
            ..messages::Row::default()
        }
    }
}

fn is_for_vassals(name: &str) -> bool {
    name.starts_with("emperor-") || name.starts_with("vassal")
}
