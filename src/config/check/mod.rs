//! Checks: turns the gathered options into a `Config` or a report.

pub(crate) mod conflicts;
pub(crate) mod traps;
pub(crate) mod validate;
