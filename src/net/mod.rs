//! The listening sockets of an instance: inherited at the start, bound as configured, kept over reloads, and their
//! files removed at the exit.

mod bind;
mod bound_socket;
mod endpoint;
mod error;
mod inherit;
mod listen_options;
mod service_socket;
mod socket_permissions;
#[cfg(test)]
mod tests;
pub(crate) mod unix_socket;
mod vacuum;

pub(crate) use bind::bind_all;
pub(crate) use bound_socket::BoundSocket;
pub(crate) use error::PlaceError;
pub(crate) use inherit::inherit;
pub(crate) use service_socket::ServiceSocket;
pub(crate) use socket_permissions::SocketPermissions;
pub(crate) use vacuum::vacuum_dropped;
