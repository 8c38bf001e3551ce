//! The control socket, through which `ruwsgi ls`, `status`, `reload` and the other verbs reach an emperor or a master.
//!
//! `socket_path` finds and names the sockets, `server` serves clients, `client` sends a request, and `status_text`
//! formats the response. The process behind a server implements [`server::Host`]. The messages are in
//! [`crate::ipc::control`].

pub(crate) mod client;
mod client_io;
mod client_round;
pub(crate) mod reply;
pub(crate) mod server;
pub(crate) mod socket_path;
mod status_text;
