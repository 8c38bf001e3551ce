//! The failure to load an application.

use serde::{Deserialize, Serialize};

/// Why an application could not be loaded.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct LoadFailure {
    /// One sentence that says what failed and what to do.
    pub sentence: String,
    /// Python's traceback in the format of `traceback.format_exception`; empty if there is none.
    pub traceback: String,
}

impl From<String> for LoadFailure {
    /// Creates a failure without a traceback.
    fn from(sentence: String) -> Self {
        Self {
            sentence,
            traceback: String::new(),
        }
    }
}
