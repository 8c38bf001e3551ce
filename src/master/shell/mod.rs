//! Shell commands that run as child processes of the master: their spawn, their output, and their end when the master
//! is killed.

pub(super) mod command;
pub(super) mod leash;
pub(super) mod output;
