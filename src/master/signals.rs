//! What a signal asks the master for.

use crate::sys::signal::Signal;

/// The signals that the master reads; those it has no order for are blocked so that they harm nobody.
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

/// How a reload treats the workers it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ReloadMode {
    /// They finish what they began.
    Graceful,
    /// They are killed.
    Brutal,
}

/// What the master is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignalAction {
    /// Finish the requests in flight and stop; the second time: stop at once.
    Stop,
    /// Load everything anew.
    Reload(ReloadMode),
    /// Write the state to the log.
    Report,
    /// A child has ended.
    Reap,
}

/// The order that a signal is; `term_stops` is false under `die-on-term = false`.
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
    fn term_stops_unless_the_old_meaning_is_asked_for() {
        assert_eq!(action(Signal::SIGTERM, true), Some(SignalAction::Stop));
        assert_eq!(
            action(Signal::SIGTERM, false),
            Some(SignalAction::Reload(ReloadMode::Brutal))
        );
        assert_eq!(action(Signal::SIGINT, false), Some(SignalAction::Stop));
        assert_eq!(action(Signal::SIGQUIT, false), Some(SignalAction::Stop));
    }

    #[test]
    fn odd_signals_are_read_and_have_no_effect() {
        for signal in [Signal::SIGUSR2, Signal::SIGALRM] {
            assert!(READ.contains(&signal));
            assert_eq!(action(signal, true), None);
        }
    }
}
