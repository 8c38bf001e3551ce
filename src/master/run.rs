//! The master's loop, and the handlers of its events.
//!
//! `master.rs` has the state. `event_loop.rs` has the loop and the table of event sources. The other files have the
//! handlers, grouped by subject.

mod app_signals;
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
mod observer;
mod reload;
mod repeat_import;
mod request_lines;
mod services;
mod shared_memory;
mod signals;
mod startup;

pub(super) use master::Master;
