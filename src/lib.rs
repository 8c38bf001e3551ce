//! ruwsgi: an application server for Python that speaks uWSGI's configuration and protocol.
//!
//! These modules are the parts of the crate; docs/architecture.md describes how they work together.

pub mod cli;
mod config;
mod control;
mod emperor;
pub mod exit;
#[doc(hidden)]
pub mod fuzz;
pub mod http;
pub mod ipc;
pub mod log;
mod master;
mod net;
mod process;
pub mod protocol;
pub mod routing;
pub mod shared;
pub mod static_files;
mod stats;
pub mod sys;
mod watch;
