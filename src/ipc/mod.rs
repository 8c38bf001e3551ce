//! Typed messages between processes, over `SOCK_SEQPACKET` pairs: one message is one packet of JSON, and carries its
//! descriptors as ancillary data. End of file means that the peer has closed.
//!
//! ```text
//! master ── ToZygote ──▶ zygote      master ── ToWorker ──▶ worker
//!        ◀─ FromZygote ─                    ◀─ FromWorker ─    (the worker's end is its leash)
//! emperor ── ToVassal ──▶ master
//!         ◀─ FromVassal ─
//! client ── control::Request ──▶ master or emperor             (a line of JSON over a stream)
//!        ◀─ control::Answer ─
//! ```

mod app;
pub(crate) mod control;
mod emperor;
mod load_failure;
mod signal;
pub mod start_watch;
mod worker;
mod zygote;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sys::{deferred_close, packet};

pub use app::{
    AppSpec, Farm, Listener, Procname, Protocol, Serving, SharedMemorySpec, Watching, WorkerProgram,
};
pub(crate) use emperor::{FromEmperor, FromVassal, Limited, Question, Report, ToVassal};
pub use emperor::{HandedOverSocket, KeptFile};
pub use load_failure::LoadFailure;
pub use signal::{MAX_TRIGGERS, SignalRequest, SignalTarget};
pub use worker::{FromWorker, ToWorker};
pub use zygote::{FromZygote, ToZygote};

/// Sends one message and its descriptors as one packet. Waits while the socket's buffer is full.
///
/// # Errors
/// Those of sendmsg(2): `EPIPE` if the peer has closed, `EMSGSIZE` if the message is too large.
pub fn send<M: Serialize>(
    fd: BorrowedFd<'_>,
    message: &M,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    packet::send(fd, &serde_json::to_vec(message)?, fds)
}

/// Sends like [`send`], but never waits. Used for a peer that may not read its messages, because application code runs
/// in it.
///
/// # Errors
/// The errors of [`send`]; `WouldBlock` if the buffer is full, because the peer has not read earlier messages.
pub(crate) fn send_now<M: Serialize>(
    fd: BorrowedFd<'_>,
    message: &M,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    packet::send_now(fd, &serde_json::to_vec(message)?, fds)
}

/// Receives one message and its descriptors. Blocks until a message arrives; returns `None` if the peer has closed.
///
/// # Errors
/// Those of recvmsg(2); `InvalidData` if the packet is not a message of type `M`. The descriptors of a failed receive
/// are closed.
pub fn receive<M: DeserializeOwned>(fd: BorrowedFd<'_>) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    let (mut bytes, mut fds) = (Vec::new(), Vec::new());
    let message = match packet::recv(fd, &mut bytes, &mut fds) {
        Ok(0) => return Ok(None),
        // a peer that exits with unread messages resets the connection; this counts as closed
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
        Ok(_) => serde_json::from_slice(&bytes).map_err(io::Error::from),
        Err(error) => Err(error),
    };
    match message {
        Ok(message) => Ok(Some((message, fds))),
        Err(error) => {
            deferred_close::close(fds);
            Err(error)
        }
    }
}
