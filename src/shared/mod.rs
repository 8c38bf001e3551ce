//! Memory shared by the processes of an instance.

pub mod line_rings;
pub mod scoreboard;
