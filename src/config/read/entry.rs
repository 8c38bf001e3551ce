//! `Entry`: an option as it was given, before its value is expanded and checked.

use crate::config::finding::Place;

/// An option as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The name as written.
    pub(crate) name: String,
    /// The value. Its placeholders are expanded after all sources are read.
    pub(crate) value: String,
    /// The place where the option was given.
    pub(crate) place: Place,
    /// Whether the entry comes from `set-placeholder`. Such an entry is never an option.
    pub(crate) placeholder: bool,
}
