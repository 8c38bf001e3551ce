//! Reading: the environment, the flags and the configuration files become one ordered list of options.

mod block;
mod command;
mod custom;
pub(crate) mod entry;
mod env;
pub(crate) mod envdir;
mod expand;
pub(crate) mod file;
pub(crate) mod flags;
mod formats;
pub(crate) mod glob;
pub(crate) mod habits;
pub(crate) mod ini;
pub(crate) mod invocation;
mod limits;
mod load;
mod magic;
pub(crate) mod source;
mod template;
