//! The emperor's own status (`ruwsgi status` without a name).

use std::time::Instant;

use crate::config::{Config, Invocation};
use crate::ipc::control as messages;
use crate::sys::process::Pid;
use crate::sys::{memory, user};

/// The options that are shown with their default values if they are not set.
const SHOWN_DEFAULTS: [&str; 4] = [
    "emperor-freq",
    "emperor-throttle",
    "emperor-max-throttle",
    "emperor-required-heartbeat",
];

/// The part of the emperor's status that does not depend on the vassals.
pub(super) struct SelfStatus {
    started: Instant,
    sources: Vec<String>,
    /// The options that concern vassals, with their values.
    options: Vec<(String, String)>,
    /// Whether the emperor is stopping.
    pub(super) stopping: bool,
}

impl SelfStatus {
    pub(super) fn new(config: &Config, invocation: &Invocation) -> Self {
        let effective = config.effective().into_iter();
        let set = effective.map(|(name, value, _)| (name.as_str(), value.as_str()));
        let defaults = config.defaulted().into_iter();
        let defaults = defaults.filter(|(name, _)| SHOWN_DEFAULTS.contains(name));
        let options = set
            .filter(|(name, _)| concerns_vassals(name))
            .chain(defaults);
        let mut options: Vec<(String, String)> = options
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        options.sort();
        let sources = config.emperor().iter();
        Self {
            started: Instant::now(),
            sources: sources
                .map(|source| invocation.cwd.join(source).display().to_string())
                .collect(),
            options,
            stopping: false,
        }
    }

    /// The row of the emperor, with the number of `vassals` in each state and their memory. Only a `privileged` row
    /// contains the configuration, because it may contain secrets.
    pub(super) fn row<'a>(
        &self,
        vassals: impl Iterator<Item = &'a messages::Row>,
        privileged: bool,
        now: Instant,
    ) -> messages::Row {
        let mut emperor = messages::Emperor {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            user: user::current_name(),
            ..messages::Emperor::default()
        };
        if privileged {
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
            state: if self.stopping { "stopping" } else { "ready" }.to_owned(),
            pid: Some(pid),
            uptime: Some(now.saturating_duration_since(self.started).as_secs()),
            memory_kib: memory::proportional_kib(pid),
            emperor: Some(emperor),
            ..messages::Row::default()
        }
    }
}

fn concerns_vassals(name: &str) -> bool {
    name.starts_with("emperor-") || name.starts_with("vassal")
}
