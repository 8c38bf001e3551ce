//! Typed values: parses the text of an option.

pub(crate) mod accounts;
pub(crate) mod address;
pub(crate) mod companion;
pub(crate) mod hook;
pub(crate) mod keyed;
pub(crate) mod limit;
pub(crate) mod parse;
pub(crate) mod schedule;
pub(crate) mod setting;
pub(crate) mod value;
