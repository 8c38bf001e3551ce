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
pub(super) enum Manner {
    /// They finish what they began.
    Graceful,
    /// They are killed.
    Brutal,
}

/// What the master is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Finish the requests in flight and stop; the second time: stop at once.
    Stop,
    /// Load everything anew.
    Reload(Manner),
    /// Write the state to the log.
    Report,
    /// A child has ended.
    Reap,
}

/// The order that a signal is; `term_stops` is false under `die-on-term = false`.
pub(super) fn of(signal: Signal, term_stops: bool) -> Option<Order> {
    match signal {
        Signal::SIGTERM if !term_stops => Some(Order::Reload(Manner::Brutal)),
        Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT => Some(Order::Stop),
        Signal::SIGHUP => Some(Order::Reload(Manner::Graceful)),
        Signal::SIGUSR1 => Some(Order::Report),
        Signal::SIGCHLD => Some(Order::Reap),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn term_stops_unless_the_old_meaning_is_asked_for() {
        assert_eq!(of(Signal::SIGTERM, true), Some(Order::Stop));
        assert_eq!(
            of(Signal::SIGTERM, false),
            Some(Order::Reload(Manner::Brutal))
        );
        assert_eq!(of(Signal::SIGINT, false), Some(Order::Stop));
        assert_eq!(of(Signal::SIGQUIT, false), Some(Order::Stop));
    }

    #[test]
    fn odd_signals_are_read_and_have_no_effect() {
        for signal in [Signal::SIGUSR2, Signal::SIGALRM] {
            assert!(READ.contains(&signal));
            assert_eq!(of(signal, true), None);
        }
    }
}
