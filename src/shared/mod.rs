//! Memory shared by the processes of an instance.

pub mod line_rings;
pub mod running_signal;
pub mod scoreboard;
pub mod signal_rows;
