//! Size limits of a configuration, so that no file can exhaust the memory.

use crate::config::finding::Fault;

/// Maximum size of a configuration file, in bytes.
pub(crate) const MAX_FILE: u64 = 4 << 20;
/// Maximum size of all names and values together, in bytes.
pub(crate) const MAX_TEXT: usize = 16 << 20;
/// Maximum size of a value before and after expansion, in bytes.
pub(crate) const MAX_VALUE: usize = 64 << 10;
/// Maximum number of options; repeated options count each time.
pub(crate) const MAX_ENTRIES: usize = 10_000;
/// Maximum number of lines that give an option, including the lines inside false conditions.
pub(crate) const MAX_LINES: usize = 100_000;

/// The fault for a value of more than [`MAX_VALUE`] bytes.
pub(crate) fn value_too_long() -> Fault {
    Fault::new(format!("the value has more than {MAX_VALUE} bytes"))
        .hint("look for placeholders that multiply each other")
}
