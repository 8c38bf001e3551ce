//! Safe functions over the kernel's system calls, built on nix and libc.
//!
//! `unsafe` code is allowed in this module, in `shared/` and in the Python crate, and nowhere else.

pub mod affinity;
pub mod backlog;
pub mod capability;
pub(crate) mod cgroup;
pub mod clock;
pub mod daemon;
pub mod deferred_close;
pub(crate) mod descriptor;
pub mod environment;
pub mod epoll;
pub mod exclusive;
pub mod fifo;
pub mod file_lock;
pub mod fork_guard;
pub mod fs_identity;
pub(crate) mod inherited_socket;
mod keyring;
mod launch;
pub mod log_file;
pub mod log_socket;
pub mod memory;
pub(crate) mod notify;
pub(crate) mod oom;
pub mod packet;
pub mod path_error;
pub mod pipe;
pub mod poll;
pub mod private_fd;
pub mod privileges;
mod proc_stat;
pub mod process;
pub mod program;
pub mod rlimit;
pub mod signal;
pub mod socket;
pub(crate) mod spawn;
pub mod stdio;
pub mod stream;
pub mod symlink_walk;
pub mod terminal;
pub mod thread;
pub mod title;
pub mod trusted_path;
pub mod user;
pub mod wakeup;
