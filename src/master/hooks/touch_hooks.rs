//! Hooks that run when a file is touched: `hook-touch` and `touch-exec`.

use std::time::Instant;

use crate::config::{Action, Config};
use crate::watch::PollWatch;

use super::phase::Hook;

/// The watched files, each with its action.
#[derive(Debug, Default)]
pub(super) struct TouchHooks(Vec<(PollWatch, Action)>);

impl TouchHooks {
    /// Watches the files of a configuration. A file at the same position as in the previous configuration keeps its
    /// recorded state. The current state of any other file is recorded.
    pub(super) fn configure(&mut self, config: &Config, now: Instant) {
        let mut previous = std::mem::take(&mut self.0).into_iter();
        let hooks = config.hook_touch().iter().chain(config.touch_exec());
        self.0 = hooks
            .map(|(path, action)| {
                let known = previous.next().map(|(touches, _)| touches);
                let mut touches = known.unwrap_or_default();
                touches.watch([path].into_iter(), now);
                (touches, action.clone())
            })
            .collect();
    }

    /// Stops watching all files.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The time at which [`TouchHooks::due`] must be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let touches = self.0.iter();
        touches.filter_map(|(touches, _)| touches.deadline()).min()
    }

    /// Checks the files whose check is due, and returns the hooks of the files that have changed.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Hook> {
        let changed = self.0.iter_mut().filter_map(|(touches, action)| {
            touches.changed(now)?;
            Some(Hook::new("touch", action.clone()))
        });
        changed.collect()
    }
}
