//! Memory that the processes of one instance share.

pub mod scoreboard;
