//! The table of options: one row for each option, and what is generated from the rows.

pub(crate) mod absent;
pub(crate) mod accepted;
pub(crate) mod compat;
pub(crate) mod directives;
pub(crate) mod docs;
pub(crate) mod options;
pub(crate) mod permitted;
pub(crate) mod row;
pub(crate) mod suggest;
