//! What a process and its children agree on when one starts the other.

mod vassal_environment;

pub(crate) use vassal_environment::{AddressRule, OnDemand, VassalEnvironment};
