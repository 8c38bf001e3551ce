//! Shell commands that run as child processes of the master: spawning, output, and their end when the master is killed.

pub(super) mod command;
pub(super) mod leash;
pub(super) mod output;
