//! Memory shared by the processes of an instance.

pub mod area;
pub mod cache;
pub mod line_rings;
pub mod locks;
mod mapping;
pub mod measurements;
pub mod queue;
pub mod robust_lock;
pub mod running_signal;
pub mod scoreboard;
pub mod signal_rows;
