//! The kernel: the only caller of nix and libc.

pub mod backlog;
pub mod borrowed_rights;
pub mod capability;
pub(crate) mod cgroup;
pub mod clock;
pub mod daemon;
pub mod environment;
pub mod fifo;
pub mod inotify;
pub mod interpreter;
pub(crate) mod memory;
pub(crate) mod notify;
pub(crate) mod oom;
pub mod packet;
pub(crate) mod pidfile;
pub mod pipe;
pub mod poll;
pub mod process;
pub mod signal;
pub mod socket;
pub mod stdio;
pub mod stream;
pub mod thread;
pub mod unix_socket;
pub mod user;
pub mod way;
