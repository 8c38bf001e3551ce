//! Tracks whether a vassal's file exists; a missing file counts as removed after a delay.

use std::time::{Duration, Instant};

use crate::emperor::stamp::Stamp;

/// How long a file must be missing before its vassal is stopped: some editors remove a file before they write it again.
const REMOVAL_DELAY: Duration = Duration::from_millis(190);

/// The file of a vassal.
#[derive(Clone, Copy, Debug)]
pub(in crate::emperor) enum FileState {
    /// The file existed at the last check.
    Present(Stamp),
    /// It is missing, perhaps only for a moment.
    Missing { last: Stamp, since: Instant },
    /// It has been missing for [`REMOVAL_DELAY`].
    Removed,
}

/// Result of a check that did not find the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emperor) enum Removal {
    /// Nothing: its removal is known.
    Known,
    /// Check again after [`REMOVAL_DELAY`].
    Pending,
    /// It counts as removed from now on.
    Complete,
}

impl FileState {
    /// The stamp of the file when it was last seen; `None`: it is removed.
    pub(in crate::emperor) fn stamp(&self) -> Option<Stamp> {
        match *self {
            Self::Present(stamp) | Self::Missing { last: stamp, .. } => Some(stamp),
            Self::Removed => None,
        }
    }

    /// Records that the file is there; returns the stamp before.
    pub(in crate::emperor) fn found(&mut self, stamp: Stamp) -> Option<Stamp> {
        let before = self.stamp();
        *self = Self::Present(stamp);
        before
    }

    /// Records that the file is not there.
    pub(in crate::emperor) fn not_found(&mut self, now: Instant) -> Removal {
        match *self {
            Self::Removed => Removal::Known,
            Self::Present(last) => {
                *self = Self::Missing { last, since: now };
                Removal::Pending
            }
            Self::Missing { since, .. } if now.duration_since(since) < REMOVAL_DELAY => {
                Removal::Pending
            }
            Self::Missing { .. } => {
                *self = Self::Removed;
                Removal::Complete
            }
        }
    }
}
