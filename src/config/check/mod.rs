//! Checks: the gathered options become a `Config` or a report; `ruwsgi check` also reports likely mistakes.

mod conflicts;
pub(crate) mod traps;
pub(crate) mod validate;
