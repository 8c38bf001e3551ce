//! Typed values: each type parses the text of an option and explains its faults.

pub(crate) mod accounts;
pub(crate) mod address;
pub(crate) mod alarm;
pub(crate) mod app_signal;
pub(crate) mod area;
pub(crate) mod cache;
pub(crate) mod choice;
pub(crate) mod companion;
pub(crate) mod envdir;
mod header;
pub(crate) mod hook;
mod keyed;
pub(crate) mod kinds;
pub(crate) mod limit;
pub(crate) mod logging;
pub(crate) mod mule;
mod number;
pub(crate) mod pusher;
pub(crate) mod routing;
pub(crate) mod schedule;
pub(crate) mod setting;
mod signal;
pub(crate) mod static_files;
pub(crate) mod text;
