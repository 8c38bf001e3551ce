//! The master's loop, and what it does with each event.
//!
//! `master.rs` is the state, `event_loop.rs` the loop and the table of event sources; each other file is one source.

mod control;
mod emperor;
mod event_loop;
mod event_source;
mod fifo;
mod files;
mod generations;

mod idle;
mod log;
mod master;
mod reload;
mod repeat_import;
mod services;
mod signals;
mod startup;

pub(super) use master::Master;
