//! The master's control socket, and the requests that are answered only after a later event.

use crate::control::server::ControlServer;
use crate::sys::process::Pid;

/// The control socket of a master.
pub(super) type ControlSocket = ControlServer<PendingRequest>;

/// The event that a client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PendingRequest {
    /// The end of the reload with this number.
    Reload { number: u64 },
    /// The exit of the master. It closes the connection, which is the answer.
    Stop,
    /// The start of workers: this number of workers serves, or a later request has set another number.
    Scaled(u32),
    /// The replacement of a worker: the process `pid` has exited, and another process serves with its worker id.
    Replaced { worker_id: u32, pid: Pid },
}

/// A request that the emperor has forwarded and that is not answered yet.
#[derive(Debug)]
pub(super) struct ForwardedRequest {
    /// The emperor's number of the request.
    pub(super) ticket: u32,
    pub(super) pending: PendingRequest,
}
