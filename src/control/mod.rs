//! The control socket, by which `ruwsgi ls` and its kin speak with an emperor or a master: what both need.
//!
//! `socket_path.rs` says where the sockets are, `messages.rs` what is said over them, `server.rs` receives those who ask and
//! `client.rs` is one of them, which `table.rs` prints for. What a request means is the role's own affair: it is the desk's [`server::Host`].

pub(crate) mod client;
mod client_io;
pub(crate) mod messages;
pub(crate) mod server;
pub(crate) mod socket_path;
mod table;
