//! What a process and its children agree on when one starts the other.

mod cgroup_options;
pub(crate) mod interpreter;
pub(crate) mod log_thread;
pub(crate) mod pidfile;
pub(crate) mod running_instance;
mod vassal_environment;

pub(crate) use cgroup_options::cgroup_limits;
pub(crate) use vassal_environment::{AddressRule, OnDemand, VassalEnvironment};
