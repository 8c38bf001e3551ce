//! The meaning of the signals that the master receives.

use crate::sys::signal::Signal;

/// The signals that the master blocks and reads. Signals without an action are here too, because they would kill the
/// master if they were not blocked.
pub(super) const READ: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGCHLD,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
];

/// How a reload ends the workers of the old generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ReloadMode {
    /// The workers finish their requests.
    Graceful,
    /// The workers are killed.
    Brutal,
}

/// The master's response to a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignalAction {
    /// Finish the requests in flight and exit. The second time, exit at once.
    Stop,
    /// Read the configuration and load the application again.
    Reload(ReloadMode),
    /// Write the state of the instance to the log.
    Report,
    /// Collect the exit statuses of children.
    Reap,
}

/// Returns the action on a signal; `None` if the master ignores the signal. `term_stops` is false with `die-on-term =
/// false`. SIGTERM then causes a brutal reload.
pub(super) fn action(signal: Signal, term_stops: bool) -> Option<SignalAction> {
    match signal {
        Signal::SIGTERM if !term_stops => Some(SignalAction::Reload(ReloadMode::Brutal)),
        Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT => Some(SignalAction::Stop),
        Signal::SIGHUP => Some(SignalAction::Reload(ReloadMode::Graceful)),
        Signal::SIGUSR1 => Some(SignalAction::Report),
        Signal::SIGCHLD => Some(SignalAction::Reap),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn term_stops_unless_die_on_term_is_false() {
        assert_eq!(action(Signal::SIGTERM, true), Some(SignalAction::Stop));
        assert_eq!(
            action(Signal::SIGTERM, false),
            Some(SignalAction::Reload(ReloadMode::Brutal))
        );
        assert_eq!(action(Signal::SIGINT, false), Some(SignalAction::Stop));
        assert_eq!(action(Signal::SIGQUIT, false), Some(SignalAction::Stop));
    }

    #[test]
    fn signals_without_an_action_are_read_and_ignored() {
        for signal in [Signal::SIGUSR2, Signal::SIGALRM] {
            assert!(READ.contains(&signal));
            assert_eq!(action(signal, true), None);
        }
    }
}
