//! The processes of one generation: its zygote and its workers.
//!
//! The decisions are pure functions (`zygote_state.rs`, `slot.rs`, `deadline.rs`, `limits.rs`, `scale.rs`); the files here perform
//! them.

mod harakiri;
mod lifecycle;
mod messages;
mod placement;
mod processes;
mod recycle;
mod scale;
mod status;

pub(super) use processes::Generation;
