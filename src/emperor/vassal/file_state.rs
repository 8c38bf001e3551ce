//! Tracks whether a vassal's file exists; a missing file counts as removed after a delay.

use std::time::{Duration, Instant};

use crate::emperor::stamp::Stamp;

/// How long a file must be missing before its vassal is stopped: some editors remove a file before they write it again.
const REMOVAL_DELAY: Duration = Duration::from_millis(190);

/// The state of a vassal's file.
#[derive(Clone, Copy, Debug)]
pub(in crate::emperor) enum FileState {
    /// The file existed at the last check.
    Present(Stamp),
    /// The file is missing, perhaps only for a moment.
    Missing { last: Stamp, since: Instant },
    /// The file has been missing for [`REMOVAL_DELAY`].
    Removed,
}

/// The result of a check that did not find the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emperor) enum Removal {
    /// The removal was already known. Nothing changes.
    Known,
    /// The file has not been missing for [`REMOVAL_DELAY`] yet. The caller checks again after this delay.
    Pending,
    /// The file counts as removed from now on.
    Complete,
}

impl FileState {
    /// The stamp of the file when it was last seen; `None` if the file is removed.
    pub(in crate::emperor) fn stamp(&self) -> Option<Stamp> {
        match *self {
            Self::Present(stamp) | Self::Missing { last: stamp, .. } => Some(stamp),
            Self::Removed => None,
        }
    }

    /// Records that the file exists; returns its previous stamp.
    pub(in crate::emperor) fn found(&mut self, stamp: Stamp) -> Option<Stamp> {
        let before = self.stamp();
        *self = Self::Present(stamp);
        before
    }

    /// Records that the file does not exist.
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
