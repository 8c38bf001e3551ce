//! An option as it was given.

use crate::config::finding::Place;

/// An option as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The name as written.
    pub(crate) name: String,
    /// The value; expanded once everything is read.
    pub(crate) value: String,
    /// The place where it was written.
    pub(crate) place: Place,
    /// A placeholder of `set-placeholder`; it is never an option.
    pub(crate) placeholder: bool,
}
