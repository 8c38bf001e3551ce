//! Reading: gathers environment variables, flags and configuration files into one ordered list of options.

pub(crate) mod command;
pub(crate) mod custom;
pub(crate) mod expand;
pub(crate) mod file;
pub(crate) mod flags;
pub(crate) mod formats;
pub(crate) mod glob;
pub(crate) mod ini;
pub(crate) mod invocation;
pub(crate) mod logic;
pub(crate) mod magic;
pub(crate) mod reading;
pub(crate) mod source;
