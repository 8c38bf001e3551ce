//! The option table, with one row per option, and everything that is generated from the rows.

mod absent;
mod accepted;
pub(crate) mod compat;
mod config;
pub(crate) mod directives;
pub(crate) mod docs;
mod ignored;
pub(crate) mod options;
pub(crate) mod permitted;
pub(crate) mod plugins;
mod routes;
pub(crate) mod row;
pub(crate) mod suggest;
