//! Phases: the moments of a start, a reload and an exit at which hooks run, in their order.

use crate::config::{Action, Config};

/// A moment at which the instance runs hooks and waits for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::master) enum Phase {
    Asap,
    PreJail,
    PostJail,
    InJail,
    AsRoot,
    AsUser,
    PreApp,
    PostApp,
    AsUserAtExit,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Asap => "asap",
            Self::PreJail => "pre-jail",
            Self::PostJail => "post-jail",
            Self::InJail => "in-jail",
            Self::AsRoot => "as-root",
            Self::AsUser => "as-user",
            Self::PreApp => "pre-app",
            Self::PostApp => "post-app",
            Self::AsUserAtExit => "as-user-atexit",
        }
    }

    /// The configured actions: `hook-*` before `exec-*`, as in uWSGI.
    fn actions(self, config: &Config) -> [&[Action]; 2] {
        match self {
            Self::Asap => [config.hook_asap(), config.exec_asap()],
            Self::PreJail => [config.hook_pre_jail(), config.exec_pre_jail()],
            Self::PostJail => [config.hook_post_jail(), config.exec_post_jail()],
            Self::InJail => [config.hook_in_jail(), config.exec_in_jail()],
            Self::AsRoot => [config.hook_as_root(), config.exec_as_root()],
            Self::AsUser => [config.hook_as_user(), config.exec_as_user()],
            Self::PreApp => [config.hook_pre_app(), config.exec_pre_app()],
            Self::PostApp => [config.hook_post_app(), config.exec_post_app()],
            Self::AsUserAtExit => [config.hook_as_user_atexit(), config.exec_as_user_atexit()],
        }
    }

    /// Whether the configuration has no hooks for this phase.
    pub(in crate::master) fn is_empty(self, config: &Config) -> bool {
        self.actions(config)
            .iter()
            .all(|actions| actions.is_empty())
    }

    /// The hooks of this phase, in the order in which they run.
    pub(in crate::master) fn hooks(self, config: &Config) -> Vec<Hook> {
        let actions = self.actions(config).into_iter().flatten();
        actions
            .map(|action| Hook::new(self.name(), action.clone()))
            .collect()
    }
}

/// One configured action and the name of its moment, for the log.
#[derive(Clone, Debug)]
pub(in crate::master) struct Hook {
    pub(super) name: &'static str,
    pub(super) action: Action,
}

impl Hook {
    pub(in crate::master) fn new(name: &'static str, action: Action) -> Self {
        Self { name, action }
    }
}
