//! The control socket, by which `ruwsgi ls` and its kin speak with an emperor or a master: what both need.
//!
//! `place.rs` says where the sockets are, `talk.rs` what is said over them, `desk.rs` receives those who ask and
//! `client.rs` is one of them, which `table.rs` prints for. What a request means is the role's own affair: it is the desk's [`desk::Host`].

pub(crate) mod client;
pub(crate) mod desk;
mod exchange;
pub(crate) mod place;
mod table;
pub(crate) mod talk;
