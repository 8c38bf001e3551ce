//! Checks the gathered options and builds a `Config` or a report. `ruwsgi check` also reports likely mistakes.

mod conflicts;
pub(crate) mod traps;
pub(crate) mod validate;
