//! Phases: the moments of a start, a reload and an exit at which hooks run, in chronological order.

use crate::config::{Action, Config, WaitTarget};

/// A moment at which the instance runs hooks and waits for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::master) enum Phase {
    Asap,
    PreJail,
    PostJail,
    InJail,
    /// The instance waits for the conditions of `wait-for-*`, after `InJail` and before it binds its sockets.
    Awaited,
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
            Self::Awaited => "wait-for",
            Self::AsRoot => "as-root",
            Self::AsUser => "as-user",
            Self::PreApp => "pre-app",
            Self::PostApp => "post-app",
            Self::AsUserAtExit => "as-user-atexit",
        }
    }

    /// Returns the configured actions of this phase: the actions of `hook-*` before those of `exec-*`, as in uWSGI.
    fn actions(self, config: &Config) -> Vec<&[Action]> {
        match self {
            Self::Awaited => vec![
                config.wait_for_interface(),
                config.wait_for_fs(),
                config.wait_for_file(),
                config.wait_for_dir(),
                config.wait_for_mountpoint(),
                config.wait_for_socket(),
            ],
            Self::Asap => vec![config.hook_asap(), config.exec_asap()],
            Self::PreJail => vec![config.hook_pre_jail(), config.exec_pre_jail()],
            Self::PostJail => vec![config.hook_post_jail(), config.exec_post_jail()],
            Self::InJail => vec![config.hook_in_jail(), config.exec_in_jail()],
            Self::AsRoot => vec![config.hook_as_root(), config.exec_as_root()],
            Self::AsUser => vec![config.hook_as_user(), config.exec_as_user()],
            Self::PreApp => vec![config.hook_pre_app(), config.exec_pre_app()],
            Self::PostApp => vec![config.hook_post_app(), config.exec_post_app()],
            Self::AsUserAtExit => vec![config.hook_as_user_atexit(), config.exec_as_user_atexit()],
        }
    }

    /// Whether the configuration has no hooks for this phase.
    pub(in crate::master) fn is_empty(self, config: &Config) -> bool {
        self.actions(config)
            .iter()
            .all(|actions| actions.is_empty())
    }

    /// Returns the hooks of this phase, in the order in which they run.
    pub(in crate::master) fn hooks(self, config: &Config) -> Vec<Hook> {
        let actions = self.actions(config).into_iter().flatten();
        actions
            .map(|action| Hook::new(self.name(), timed(action, config)))
            .collect()
    }
}

/// Returns the action. A `wait_for_*` action without a timeout gets the timeout of the configuration.
fn timed(action: &Action, config: &Config) -> Action {
    match action {
        Action::WaitFor(kind, target, None) => {
            let timeout = match kind {
                WaitTarget::Interface => config.wait_for_interface_timeout(),
                WaitTarget::Socket => config.wait_for_socket_timeout(),
                _ => config.wait_for_fs_timeout(),
            };
            Action::WaitFor(*kind, target.clone(), Some(timeout))
        }
        other => other.clone(),
    }
}

/// One configured action, and the name of the moment at which it runs (for the log).
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
