//! The signals of the application: the choice of the process that handles a signal, and the times at which the master
//! raises signals.
//!
//! `table.rs`, `clock.rs` and `choice.rs` decide by pure functions. `watch.rs` watches files. An application without
//! signals costs a few empty lists.

mod choice;
mod clock;
mod state;
mod table;
mod watch;

pub(super) use choice::{Candidate, first_free};
pub(super) use state::{AppSignals, Raised};
pub(super) use table::{Effect, SignalSet, SignalTable, Trigger, configured};
