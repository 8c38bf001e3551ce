//! Reads one request from a connection, without waiting. A thread may continue the read that another thread has begun.

use std::io;

use bytes::BytesMut;

use super::connection::Connection;
use super::refusal::Refusal;
use super::request::{Request, Span};
use super::settings::Limits;
use super::spool::Spool;
use crate::ipc::Protocol;
use crate::protocol::body::ChunkDecoder;
use crate::protocol::http;

/// The result of a read.
pub enum Step {
    /// The request is incomplete. All bytes that have arrived are read, or the budget is used up.
    More,
    /// The request is complete.
    Complete,
    /// The server responds in place of the application, and the connection ends.
    Refused(Refusal),
    /// The client is gone. The text is the reason for the log if the connection has ended within a request.
    Gone(Option<&'static str>),
}

/// The part of the request that is being read.
pub(super) enum Stage {
    Head,
    /// The body has a known length; `left` bytes are missing.
    Body {
        spool: Spool,
        left: u64,
    },
    Chunks {
        spool: Spool,
        decoder: ChunkDecoder,
    },
}

/// A request that is being read.
pub struct RequestReader {
    /// The request, as read so far.
    pub request: Request,
    /// Whether the client expects the HTTP connection to stay open for another request.
    pub keep_alive: bool,
    /// Whether bytes have arrived after the request of a uwsgi connection.
    pub surplus: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(super) continue_due: bool,
    pub(super) protocol: Protocol,
    /// Received bytes of an HTTP connection that are not consumed yet.
    pub(super) raw: BytesMut,
    pub(super) scan: http::Scan,
    pub(super) stage: Stage,
}

impl RequestReader {
    /// A reader that expects the head of a request.
    pub fn new(protocol: Protocol) -> Self {
        Self {
            request: Request::default(),
            keep_alive: false,
            surplus: false,
            continue_due: false,
            protocol,
            raw: BytesMut::new(),
            scan: http::Scan::default(),
            stage: Stage::Head,
        }
    }

    /// Prepares the reader for the first request of a new connection. Drops received bytes and keeps the memory.
    #[inline]
    pub fn restart(&mut self, protocol: Protocol) {
        self.raw.clear();
        self.restart_pipelined(protocol);
    }

    /// Prepares the reader for the next request of the same connection. Keeps the received bytes, which may belong to
    /// the next request.
    #[inline]
    pub fn restart_pipelined(&mut self, protocol: Protocol) {
        self.request.clear();
        self.keep_alive = false;
        self.surplus = false;
        self.continue_due = false;
        self.protocol = protocol;
        self.scan = http::Scan::default();
        self.stage = Stage::Head;
    }

    /// Whether no byte of a request has arrived.
    pub fn is_empty(&self) -> bool {
        self.request.text.is_empty() && self.raw.is_empty()
    }

    /// Whether the head is complete and the body is not.
    pub fn in_body(&self) -> bool {
        !matches!(self.stage, Stage::Head)
    }

    /// Number of body bytes that have arrived, and the length of the body if it is known. `None` unless a body is being
    /// read.
    pub fn body_progress(&self) -> Option<(u64, Option<u64>)> {
        match &self.stage {
            Stage::Head => None,
            Stage::Body { spool, left } => Some((spool.received(), Some(spool.received() + left))),
            Stage::Chunks { spool, .. } => Some((spool.received(), None)),
        }
    }

    /// Whether the body goes to a file. Its arrival will then take a while.
    pub fn is_large(&self) -> bool {
        match &self.stage {
            Stage::Head => false,
            Stage::Body { spool, .. } | Stage::Chunks { spool, .. } => !spool.in_memory(),
        }
    }

    /// Whether bytes of the next request have arrived.
    #[inline]
    pub fn has_pipelined(&self) -> bool {
        !self.raw.is_empty()
    }

    /// Bytes of memory that the reader uses, without the bytes of the body.
    pub fn buffered(&self) -> usize {
        self.request.text.capacity()
            + self.raw.capacity()
            + self.request.vars.capacity() * size_of::<(Span, Span)>()
    }

    /// Frees unused memory before a long wait.
    pub fn shrink(&mut self) {
        self.request.text.shrink_to_fit();
        self.raw = BytesMut::from(&self.raw[..]);
    }

    /// Reads and parses the input that has arrived, until about `budget` bytes are read. `scratch` is the thread's
    /// buffer for the bytes of a body of known length.
    pub fn read(
        &mut self,
        connection: &Connection,
        limits: &Limits,
        scratch: &mut Vec<u8>,
        budget: usize,
    ) -> Step {
        let fd = connection.raw_fd();
        let mut left = budget;
        loop {
            let got = match self.receive(fd, scratch) {
                Ok(0) => {
                    return Step::Gone(
                        (!self.is_empty()).then_some("the client closed it within a request"),
                    );
                }
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::More,
                Err(_) => {
                    return Step::Gone(
                        (!self.is_empty()).then_some("an error on its socket within a request"),
                    );
                }
            };
            match self.parse(connection, limits, scratch) {
                Step::More => {}
                other => return other,
            }
            left = left.saturating_sub(got);
            if left == 0 {
                return Step::More;
            }
        }
    }

    /// Parses the bytes of a pipelined request that have arrived already. Reads nothing from the socket.
    pub fn resume(&mut self, connection: &Connection, limits: &Limits) -> Step {
        if self.raw.is_empty() {
            Step::More
        } else {
            self.parse(connection, limits, &[])
        }
    }

    pub(super) fn complete_if_body_is(&mut self) -> Step {
        match self.stage {
            Stage::Body { left: 0, .. } => self.complete(),
            _ => Step::More,
        }
    }

    pub(super) fn complete(&mut self) -> Step {
        if let Stage::Body { spool, .. } | Stage::Chunks { spool, .. } =
            std::mem::replace(&mut self.stage, Stage::Head)
        {
            self.request.body = spool.into_body();
        }
        Step::Complete
    }
}

/// Begins a body of `length` bytes. Stores its first bytes, which are at the beginning of `received`. Returns the
/// stage, and how many of the received bytes belong to the body.
pub(super) fn begin_body(
    length: u64,
    received: &[u8],
    limits: &Limits,
) -> Result<(Stage, usize), Refusal> {
    if limits.limit_post != 0 && length > limits.limit_post {
        return Err(Refusal::body_too_large(length, limits.limit_post));
    }
    let taken = usize::try_from(length)
        .unwrap_or(usize::MAX)
        .min(received.len());
    let mut spool = Spool::with_length(length, limits.post_buffering)
        .map_err(|error| Refusal::spool_failed(&error, length))?;
    spool
        .push(&received[..taken])
        .map_err(|error| Refusal::spool_failed(&error, length))?;
    let left = length - taken as u64;
    Ok((Stage::Body { spool, left }, taken))
}
