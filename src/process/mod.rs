//! Starting a process: settings that a parent passes to its children, daemonizing, pidfiles, log files, and the Python
//! interpreter.

mod cgroup_options;
mod detach;
pub(crate) mod interpreter;
pub(crate) mod log_files;
pub(crate) mod log_thread;
pub(crate) mod pidfile;
mod pidfiles;
pub(crate) mod running_instance;
pub(crate) mod stop_signals;
mod vassal_environment;

pub(crate) use cgroup_options::cgroup_limits;
pub(crate) use detach::detach;
pub(crate) use log_files::redirect as redirect_log;
pub(crate) use pidfiles::Pidfiles;
pub(crate) use vassal_environment::{AddressRule, OnDemand, VassalEnvironment};
