//! Memory shared by the processes of an instance.

pub mod scoreboard;
