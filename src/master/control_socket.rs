//! The master's control socket, and the requests on it whose answer comes later.

use crate::control::server::ControlServer;
use crate::sys::process::Pid;

/// The control socket of a master.
pub(super) type ControlSocket = ControlServer<PendingRequest>;

/// The event that a client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PendingRequest {
    /// The end of the reload with this number.
    Reload { number: u64 },
    /// The exit of the master, which closes the connection.
    Stop,
    /// This number of serving workers, or a later request for another number.
    Scaled(u32),
    /// The exit of a worker's process, and a serving successor.
    Replaced { worker_id: u32, pid: Pid },
}

/// A request that the emperor has forwarded and that is not answered yet.
#[derive(Debug)]
pub(super) struct ForwardedRequest {
    /// The emperor's number of the request.
    pub(super) ticket: u32,
    pub(super) pending: PendingRequest,
}
